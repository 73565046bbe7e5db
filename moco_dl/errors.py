"""The one exception a user's input can cause."""


class NrcorrectError(Exception):
    """Bad input or a failed write; the message says what was got, what was wanted and the way out."""
