"""MTIL: eleven image data sets, one after the other."""
