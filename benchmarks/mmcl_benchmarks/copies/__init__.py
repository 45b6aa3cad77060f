"""Copies of official data: whose folder is read, the edition it holds, and the checks that every copy must pass."""
