"""Results in the forms that other tools read: tables, data sets, contact sheets."""

from replibatch.exports.datasets import write_imagefolder, write_webdataset
from replibatch.exports.tables import write_csv, write_parquet

__all__ = ["write_csv", "write_imagefolder", "write_parquet", "write_webdataset"]
