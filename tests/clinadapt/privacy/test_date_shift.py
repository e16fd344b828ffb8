"""Dates moved by weeks: the form, the weekday and the intervals stay."""

from datetime import datetime

import pytest

from clinadapt.privacy.date_shift import DateReading, date_reading, shifted


@pytest.mark.parametrize(
    ("written", "moved"),
    [
        ("3/5/2009", "2/26/2009"),
        ("03/05/2009", "02/26/2009"),
        ("2009-03-05", "2009-02-26"),
        ("2009-03-05T10:15", "2009-02-26T10:15"),
        ("25/12/2009", "18/12/2009"),
        ("05.03.2009", "26.02.2009"),
        ("March 5, 2009", "February 26, 2009"),
        ("5 MAR 2009", "26 FEB 2009"),
        ("5th of March 2009", "26th of February 2009"),
        ("June 10th", "June 3rd"),
        ("4. März 2019", "25. Februar 2019"),
        ("1/3/01", "12/27/00"),
        ("1/3/31", "12/27/1930"),
        ("2009년 3월 5일", "2009년 2월 26일"),
        ("12SEP2008", "5SEP2008"),
        ("3/12", "3/5"),
        ("APRİL 15, 2019", "APRIL 8, 2019"),
        ("Auguſt 15", "August 8"),
        ("aprıl 15, 2019", "april 8, 2019"),
    ],
)
def test_a_date_is_moved_in_its_own_form(written: str, moved: str) -> None:
    assert shifted(written, -1, DateReading()) == moved


def test_months_and_years_without_a_day_move_too() -> None:
    assert shifted("March 2009", -52, DateReading()) == "March 2008"
    assert shifted("03/2009", -52, DateReading()) == "03/2008"
    assert shifted("Mar-09", -52, DateReading()) == "Mar-08"


@pytest.mark.parametrize("text", ["31/31/2009", "yesterday", "February 30, 2009", "1/2/3/4", "5", ""])
def test_what_is_no_date_stays_unread(text: str) -> None:
    assert shifted(text, -60, DateReading()) is None


def test_the_order_of_day_and_month_is_that_of_the_patients_other_dates() -> None:
    british = date_reading(["25/12/2008", "3/4/2009"])
    assert british == DateReading(day_first=True, year=2009) and date_reading(["3/25/2009"]).day_first is False
    assert shifted("3/4/2009", -1, british) == "27/3/2009"
    assert shifted("3/4/2009", -1, DateReading()) == "2/25/2009"  # 27 March is no 25 February


def test_intervals_and_weekdays_stay() -> None:
    dates = ["1/31/1999", "2/29/2000", "12/31/2004", "7/4/2011"]
    moved = [datetime.strptime(str(shifted(each, -337, DateReading())), "%m/%d/%Y") for each in dates]
    before = [datetime.strptime(each, "%m/%d/%Y") for each in dates]
    assert [one.weekday() for one in moved] == [one.weekday() for one in before]
    assert {new - old for new, old in zip(moved, before, strict=True)} == {moved[0] - before[0]}
