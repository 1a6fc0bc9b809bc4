"""Find the files behind a data set.

A file is looked for in the folder that `FEWSHOT_DATA` names, then in the cache (`FEWSHOT_CACHE`, or the usual place of the
operating system), and is downloaded into the cache, against a checksum, if it is in neither.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pooch

from fewshot_kit.data.files import NotWrittenError, folder_for, writing
from fewshot_kit.data.opening import expanded


def cache_folder() -> Path:
    """Name the folder of downloads and decoded pictures; it need not exist yet."""
    return expanded(os.environ.get("FEWSHOT_CACHE") or pooch.os_cache("fewshot_kit"))


def data_folder() -> Path | None:
    """Name the folder that `FEWSHOT_DATA` gives, None where it is not set."""
    given = os.environ.get("FEWSHOT_DATA")
    if not given:
        return None
    if not expanded(given).is_dir():
        raise FileNotFoundError(f"FEWSHOT_DATA names {given}, which is not a folder; correct it, or unset it to use downloads")
    return expanded(given)


def find_file(place: str) -> Path | None:
    """Return the file at this place below the data folder or the cache, if it is on this machine."""
    folders = (data_folder(), cache_folder())
    return next((folder / place for folder in folders if folder and (folder / place).is_file()), None)


@dataclass(frozen=True)
class RemoteFile:
    """One official file: where it is below the data folder or the cache, and where it comes from."""

    place: str
    url: str
    md5: str

    def find(self) -> Path | None:
        """Return the file if it is on this machine. It is not checked again: downloads were, and a person's own may differ."""
        return find_file(self.place)

    def fetch(self, progress: bool = True) -> Path:
        """Return the file, downloaded first if need be."""
        return self.find() or self._download(progress)

    def _download(self, progress: bool) -> Path:
        target = cache_folder() / self.place
        by_hand = f"Save the file by hand as {target}, or use a bundled data set (digits, characters, drawings): they need no network"
        downloader = pooch.HTTPDownloader(progressbar=progress)
        try:  # pooch writes to a temporary file beside the target, and moves it when its checksum is right
            with writing(target), folder_for(target):
                pooch.retrieve(self.url, f"md5:{self.md5}", fname=target.name, path=target.parent, downloader=downloader)
        except NotWrittenError:  # no fault of the network
            raise
        except OSError as error:  # requests' exceptions are all OSErrors
            raise ConnectionError(f"{self.url} could not be downloaded ({root_cause(error)}). {by_hand}") from error
        except ValueError as error:
            raise ConnectionError(f"what {self.url} sent is not the expected file ({error}). {by_hand}") from error
        return target


def root_cause(error: BaseException) -> BaseException:
    """Return the error that all began with: requests wraps "Name or service not known" in three of its own."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return error
