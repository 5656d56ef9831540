"""What is alive at some moment of a run, as a function of the record: storages with an owner and a reason.

account.py  what an account is
saved.py    the account of what is alive after forward
"""
