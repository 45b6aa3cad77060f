from pathlib import Path

from mmcl.testing.laboratory.audit import Audit, audited
from mmcl.testing.laboratory.edition import Edition


def test_an_edition_that_is_let_go_while_another_is_listened_to_is_no_writing_of_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "edition"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"")
    edition = Edition(folder, Audit())
    with audited() as audit:
        del edition
        kept = tmp_path / "kept.txt"
        kept.write_text("")
    assert not folder.exists()
    assert audit.written == [str(kept)]
