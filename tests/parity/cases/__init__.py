"""Check functions of the golden vectors, one file per family of methods; each lists its methods in ``PARITY``."""
