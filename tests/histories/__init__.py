"""Random histories of the limiter, checked against books of the tests' own after every call.

The machine plays several processes against the real scripts on a real Redis, with a clock it moves itself. It knows
nothing of the scripts' keys but what it reads to compare: every promise is checked on what *it* saw happen.
"""
