import pytest

from mmcl.data.names import plain_name


@pytest.mark.parametrize("other", ["Red_Fox", " red  fox ", "RED-FOX", "\uff32ed fox", "red\u00a0fox"])
def test_names_that_people_read_alike_are_one(other):
    assert plain_name(other) == plain_name("red fox")


def test_other_words_are_other_names():
    assert plain_name("red fox") != plain_name("redfox")
