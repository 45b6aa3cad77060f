"""Where a plugin is examined: it learns in a setting, watched by witnesses; all checks ask what was seen."""
