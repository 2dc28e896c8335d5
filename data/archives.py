"""Images in folders A to J, in an archive or on disk, to arrays; equal images; a split of them."""
import hashlib
import os
import tarfile
import time
import zipfile
import zlib

import numpy as np

from data.files import DataError, plain, progress
from data.png import decode

MAX_PNG = 1 << 16  # bytes: the genuine ones have 79 to about 1,000
BATCH = 8192  # images decoded at once
CLASSES = dict(zip('ABCDEFGHIJ0123456789', list(range(10)) * 2))  # a folder's name to its label


def members(path):
    """Yield (name, content, share read so far) of each PNG in a tar of any compression, a zip or a
    folder.

    Only regular files in class folders count; their names are looked at and never written to.
    `content` is None for a file too large to be one of these images.
    """
    if os.path.isdir(path):
        for folder, _, names in sorted(os.walk(path)):
            for name in sorted(names):
                name = os.path.join(folder, name)
                if _label(name) is not None:
                    with open(name, 'rb') as file:
                        yield name, file.read(MAX_PNG), 0
        return
    with open(path, 'rb') as file:
        if file.read(2) == b'PK':
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                for index, entry in enumerate(entries):
                    if _label(entry.filename) is not None:
                        small = entry.file_size <= MAX_PNG
                        yield (entry.filename, archive.read(entry) if small else None,
                               index / len(entries))
            return
        size = os.path.getsize(path)
        file.seek(0)
        with tarfile.open(fileobj=file, mode='r|*') as archive:
            for entry in archive:
                if entry.isfile() and _label(entry.name) is not None:
                    small = entry.size <= MAX_PNG
                    yield (entry.name, archive.extractfile(entry).read() if small else None,
                           file.tell() / size)
                archive.members = []  # it would remember half a million entries


def _label(name):
    """Return the label of NAME/A/x.png to NAME/J/x.png, or 0 to 9; None for any other name."""
    parts = name.replace(os.sep, '/').split('/')
    return CLASSES.get(parts[-2]) if len(parts) > 1 and name.lower().endswith('.png') else None


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
        bad.extend('{}: {}'.format(names[i], reasons[i]) for i in sorted(reasons))
        del names[:], contents[:]

    try:
        for name, content, share in members(path):
            if content is None:
                bad.append(name + ': too large for such an image')
                continue
            names.append(name)
            contents.append(content)
            if len(names) == BATCH:
                take()
                progress(what, share, 1, started)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, ValueError,
            RuntimeError, NotImplementedError, MemoryError) as error:
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
