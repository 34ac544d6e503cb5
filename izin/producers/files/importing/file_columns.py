"""The columns of the file of an import, and the brands that its rows may name."""

from collections.abc import Collection, Sequence

from izin.producers.files.columns import ColumnChoices, resolve
from izin.producers.files.importing.report_formats import without_added
from izin.producers.files.row_parts import Columns
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import read
from izin.projections.brand_directory import (
    BrandDirectory,
    StoppedBrandError,
    UnknownBrandError,
)


def columns_of(
    headers: Sequence[str], choices: ColumnChoices, directory: BrandDirectory
) -> Columns:
    """Return what the columns named ``headers`` hold; those that a report has added are left out.

    Raises:
        ColumnsError: their fields are not known.
        UnknownBrandError: the brand given for all rows is not registered.
        StoppedBrandError: nothing more is done for it.
    """
    columns = resolve(headers, without_added(choices, headers))
    for code in _given(columns):
        if directory.get(code).is_stopped:
            raise StoppedBrandError(code)
    return columns


def brands_of(columns: Columns, directory: BrandDirectory) -> Collection[int]:
    """Return the codes of the brands that rows may name: the one given for all, or any."""
    return _given(columns) or {one.brand_code for one in directory}


def _given(columns: Columns) -> Collection[int]:
    text = columns.given.get(Field.BRAND_CODE)
    if text is None:
        return ()
    code = read(columns.given, DateRules()).brand_code
    if code is None:
        raise UnknownBrandError(text)
    return (code,)
