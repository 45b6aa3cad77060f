"""Domain-incremental streams on CLIP: CDDB, CORe50 and DomainNet."""
