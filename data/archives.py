"""Images in folders A to J, in an archive or on disk, to arrays; equal images; a split of them."""
import hashlib
import lzma
import os
import tarfile
import time
import zipfile
import zlib

import numpy as np

from data.files import LIMIT, DataError, open_stream, plain, printable, progress, too_large
from data.png import decode

MAX_PNG = 1 << 16  # bytes: the genuine ones have 79 to about 1,000
BATCH = 8192  # images decoded at once
ZIPPED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack any amount at once
CLASSES = dict(zip('ABCDEFGHIJ0123456789', list(range(10)) * 2))  # a folder's name to its label


class Bounded:
    """A tar's bytes, of which tarfile gets no absurd amount, whatever a forged header asks for."""

    def __init__(self, stream, path):
        self.stream, self.path, self.tell = stream, path, stream.tell
        self.last = b''  # what was read last

    def read(self, size):
        if size > MAX_PNG:
            raise ValueError('a name or a header of {} bytes'.format(size))
        self.last = self.stream.read(size)
        if size and not self.last:
            raise EOFError('it stops within')
        return self.last

    def seek(self, position):
        if position > LIMIT:
            raise too_large(self.path)
        return self.stream.seek(position)

    def finish(self):
        """Raise ValueError unless the tar ended as tars do, and read a checksum that may follow."""
        if any(self.last):  # a wrong header ends tarfile's reading like a right end: without a word
            raise ValueError('a damaged header')
        while self.stream.read(1 << 16):
            self.seek(self.tell())


def members(path):
    """Yield (name, content, share read so far) of each file in a class folder of a tar of any
    compression, a zip or a folder; hidden files are left out.

    Names are looked at and never written to. Where something is no such image for certain, content
    is not bytes but a string that says why.
    """
    if os.path.isdir(path):
        for folder, _, names in sorted(os.walk(path, onerror=_give_up)):
            for name in sorted(names):
                name = os.path.join(folder, name)
                if _label(name) is not None:
                    content = _strange(name, os.path.isfile(name))
                    if not content:
                        with open(name, 'rb') as file:
                            content = _strange(name, size=os.path.getsize(name)) or file.read()
                    yield name, content, 0
        return
    size = os.path.getsize(path)
    file, stream = open_stream(path)
    with file, stream:
        if stream.read(2) == b'PK':
            with zipfile.ZipFile(stream) as archive:
                entries = archive.infolist()
                for index, entry in enumerate(entries):
                    with archive.open(entry) as member:  # of any name: checks that it is the right
                        if _label(entry.filename) is not None:
                            ordinary = (entry.external_attr >> 28 in (0, 8) and  # MS-DOS, Unix
                                        entry.compress_type in ZIPPED)
                            content = _strange(entry.filename, ordinary, entry.file_size, True)
                            yield (entry.filename, content or member.read(MAX_PNG + 1),
                                   index / len(entries))
            return
        stream.seek(0)
        bounded = Bounded(stream, path)
        with tarfile.open(fileobj=bounded, mode='r:') as archive:
            for entry in archive:
                if not entry.isdir() and _label(entry.name) is not None:
                    content = _strange(entry.name, entry.isfile(), entry.size, True)
                    yield (entry.name, content or archive.extractfile(entry).read(),
                           file.tell() / size)
                archive.members = []  # it would remember half a million entries
            bounded.finish()


def _strange(name, ordinary=True, size=0, inside=False):
    """Return why a file cannot be an image of these sets, as far as can be told unread, or ''.

    ordinary: neither a link nor a device nor packed in an odd way. inside: an archive.
    """
    if inside and (name.startswith(('/', '\\')) or '..' in name.replace('\\', '/').split('/')):
        return 'its path leads out of the archive'
    if not ordinary:
        return 'not an ordinary file'
    if not name.lower().endswith('.png'):
        return 'not a .png'
    return 'too large for such an image' if size > MAX_PNG else ''


def _give_up(error):
    """Raise the error of a folder that cannot be read; os.walk would pass it over."""
    raise error


def _label(name):
    """Return the label of NAME/A/x to NAME/J/x, or 0 to 9; None elsewhere and for hidden files."""
    parts = name.replace(os.sep, '/').split('/')
    return CLASSES.get(parts[-2]) if len(parts) > 1 and parts[-1][:1] not in ('', '.') else None


def read_images(path, pixels, labels):
    """Append the images to `pixels`, a bytearray, and their labels to `labels`, a list.

    path: a tar of any compression, a zip or a folder, with PNGs in folders A to J or 0 to 9.
    Returns the unreadable images as a list of 'name: reason'. Raises DataError for a damaged
    archive and for one without any image. The one growing bytearray keeps half a million images in
    415 MB; a list of batches, joined at the end, would take twice that.
    """
    started, what = time.time(), 'Reading ' + os.path.basename(path)
    names, contents, bad, before = [], [], [], len(labels)

    def take():
        images, good, reasons = decode(contents)
        pixels.extend(images.tobytes())
        labels.extend(_label(names[i]) for i in good)
        bad.extend('{}: {}'.format(printable(names[i]), reasons[i]) for i in sorted(reasons))
        del names[:], contents[:]

    try:
        for name, content, share in members(path):
            if isinstance(content, str):
                bad.append('{}: {}'.format(printable(name), content))
                continue
            names.append(name)
            contents.append(content)
            if len(names) == BATCH:
                take()
                progress(what, share, 1, started)
    except DataError:
        raise
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
            ValueError, RuntimeError, NotImplementedError, MemoryError) as error:
        raise DataError('{} is damaged, cut off or no archive ({}); get it again'.format(
            path, plain(error)))
    take()
    progress(what, 1, 1, started)
    if len(labels) == before:
        raise DataError('{} has no readable PNGs in folders A to J or 0 to 9{}; give one that has'
                        .format(path, ' ({})'.format(bad[0]) if bad else ''))
    return bad


def first_seen(images):
    """Return for each image the index of the first image that equals it, int [n].

    images: uint8 [n, 28, 28]. Images are compared by a 128-bit hash: one second for half a million.
    """
    seen = {}
    return np.array([seen.setdefault(hashlib.blake2b(image, digest_size=16).digest(), index)
                     for index, image in enumerate(np.ascontiguousarray(images))], int)


def carve(images, labels, seed):
    """Split images that come without splits: per class 80% training, 10% validation, 10% test.

    Shuffled; identical images are dealt together, in the class of the first, so that no image is
    in two splits. Returns the six arrays in the order of formats.KEYS.
    """
    random = np.random.RandomState(seed)
    first = first_seen(images)
    place = np.empty(len(images))  # of an image in the deal of its class, from 0 to 1
    for label in range(10):
        groups = np.unique(first[labels[first] == label])
        place[groups] = random.permutation(len(groups)) / max(len(groups), 1)
    place = place[first]
    order = random.permutation(len(images))
    arrays = []
    for low, high in ((0.2, 1), (0.1, 0.2), (0, 0.1)):
        chosen = order[(low <= place[order]) & (place[order] < high)]
        arrays += [images[chosen], labels[chosen]]
    return arrays
