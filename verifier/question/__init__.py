"""What is asked: the model, options, the problem, the best adversary so far, results."""
