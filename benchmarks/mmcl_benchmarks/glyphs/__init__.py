"""The glyph world: Unicode symbols as matplotlib's fonts draw them, the source of every embedded edition."""
