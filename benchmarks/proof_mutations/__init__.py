"""Real proofs, changed at random: does the checker ever accept one whose claim is false?"""
