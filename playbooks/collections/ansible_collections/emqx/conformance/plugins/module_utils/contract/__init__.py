"""What an inventory may say: the variables of its groups, checked before anything is touched.

Pure but for looking at the files that variables name: whoever calls has evaluated the variables.
Every refusal is a sentence that says what is wrong, where it stands and what to do, and never shows
a secret.
"""
