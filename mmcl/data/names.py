"""Names of classes as people mean them."""

import unicodedata


def plain_name(name: str) -> str:
    """The form in which two names are compared: ``"Red_Fox "`` and ``"red fox"`` are one class.

    Unicode in its compatibility form (NFKC), without case; underscores, hyphens and runs of white space are one blank.
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(text.replace("_", " ").replace("-", " ").split())
