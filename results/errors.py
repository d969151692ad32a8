"""The one exception that reaches a person."""


class NasSearchError(Exception):
    """A fault the user can mend. The message is one line: what is wrong and what to do."""
