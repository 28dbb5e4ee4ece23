"""What is measured beside a distance, and its pages."""
