"""What the columns of an input are for, by their names."""

from __future__ import annotations

from components.features import Columns

NAMES = ["ad_price", "att_age", "ad_id", "other", "ad_format", "address"]


def test_a_column_is_what_it_is_named_for_whatever_it_begins_with() -> None:
    columns = Columns(ad_id="ad_id", position="ad_slot")
    assert columns.ad_attributes([*NAMES, "ad_slot"]) == ["ad_format", "ad_price"]
    assert columns.user_attributes(NAMES) == ["att_age"]
    assert columns.attributes(NAMES) == ["att_age", "ad_format", "ad_price"]
    roles = {name: columns.role(name) for name in ["ad_id", "ad_slot", "ad_price", "att_age"]}
    assert list(roles.values()) == ["ad id", "position", "ad attribute", "attribute"]


def test_an_attribute_is_of_the_user_or_of_the_ad_and_not_of_both() -> None:
    columns = Columns(attribute_prefix="ad_", ad_attribute_prefix="a")
    assert columns.user_attributes(NAMES) == ["ad_format", "ad_id", "ad_price"]
    assert columns.ad_attributes(NAMES) == ["address", "att_age"]


def test_attributes_of_ads_can_be_left_out() -> None:
    columns = Columns(ad_attribute_prefix=None)
    assert columns.ad_attributes(NAMES) == []
    assert columns.attributes(NAMES) == ["att_age"]
    assert columns.role("ad_price") == "not used"
