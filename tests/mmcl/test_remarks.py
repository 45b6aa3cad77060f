import pytest

from mmcl.remarks import Remark, Remarks


def test_a_remark_is_a_warning_and_is_kept():
    remarks = Remarks()
    with pytest.warns(Remark, match="too short"):
        remarks.add("too short")
    assert list(remarks) == ["too short"]


@pytest.mark.filterwarnings("error::mmcl.remarks.Remark")
def test_what_was_said_before_an_interruption_is_not_said_again():
    remarks = Remarks(["too short"])
    remarks.add("too short")
    assert list(remarks) == ["too short"]
