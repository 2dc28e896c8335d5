"""Every stored form of these data sets, read into the same six arrays.

`read(source)` is all that a lesson needs; `write(path, arrays)` makes our own files. What a file is
shows in its first bytes, never in its name alone. A damaged file of any form ends in a DataError,
whose message is one sentence for the reader.
"""
import os
import re
import struct
import sys
import zipfile

import numpy as np

from data import pickles
from data.archives import ZIPPED, carve, read_images
from data.files import (LIMIT, DataError, open_unpacked, plain, printable, quiet_stderr, too_large,
                        write)

__all__ = ['KEYS', 'DataError', 'check', 'class_names', 'printable', 'quiet_stderr', 'read',
           'sorted_labels', 'write']

KEYS = ('train_dataset', 'train_labels', 'valid_dataset', 'valid_labels',
        'test_dataset', 'test_labels')
KERAS_KEYS = ('x_train', 'y_train', 'x_test', 'y_test')
IDX_FILES = (('train_dataset', 'train-images', 'images', 3),
             ('train_labels', 'train-labels', 'labels', 1),
             ('test_dataset', 't10k-images', 'images', 3),
             ('test_labels', 't10k-labels', 'labels', 1))
SPLITS = ('train', 'valid', 'test')
HERE = os.path.dirname(os.path.abspath(__file__))
HEADER = 256  # bytes at most before the numbers of an array; NumPy writes 128
SEED = 42  # shuffles PNG folders, which have no order of their own


def read(source):
    """Read a data set of any form.

    source: 'letters', 'notmnist' or 'mnist' (built in or prepared), or the path of an npz (ours or
    Keras'), of a pickle (the notes' or mnist.pkl.gz; gzip, bz2 or xz around it is fine), of one of
    four IDX files or their folder, or of a folder of PNGs.
    Returns a dict with the six KEYS: images uint8 [n, 28, 28], labels int32 [n], 0 to 9.
    Raises DataError, with a message for the reader, for whatever cannot be read or used.
    """
    path = str(source)
    if source in ('letters', 'notmnist', 'mnist'):
        path = os.path.join(HERE, source + '.npz')
        if not os.path.exists(path):
            raise DataError('data/{0}.npz is not there; make it with `python -m data.{0}` in the '
                            "project's folder".format(source))
    elif not os.path.exists(path):
        raise DataError("there is no file or folder {}; give letters, notmnist, mnist or the path "
                        'of a data set'.format(path))
    try:
        arrays = _read_folder(path) if os.path.isdir(path) else _read_file(path)
        arrays = _split_off_validation(arrays)
        for key in KEYS[::2]:
            arrays[key] = _as_28x28(arrays.get(key))
        check(arrays, path)
        return {key: _to_bytes(arrays[key], path) if key.endswith('dataset')
                else arrays[key].reshape(-1).astype(np.int32) for key in KEYS}
    except DataError:
        raise
    except OSError as error:
        raise DataError('{} cannot be read ({}); check the path and its permissions'.format(
            path, plain(error)))
    except (Exception, MemoryError) as error:  # damage shows as any exception: one sentence for all
        raise DataError('{} is damaged or cut off ({}); get or make it again'.format(
            path, plain(error)))


def check(arrays, source):
    """Raise DataError unless `arrays` is a whole data set.

    arrays: a dict with the six KEYS, images [n, 28, 28] of any numeric dtype, integer labels [n].
    source: its name in the message.
    """
    for split in SPLITS:
        for key in (split + '_dataset', split + '_labels'):
            if arrays.get(key) is None:
                raise DataError('{} has no array {}; it takes all of {}'.format(
                    source, key, ', '.join(KEYS)))
            if not isinstance(arrays[key], np.ndarray) or arrays[key].dtype.kind not in 'buif':
                raise DataError('{}: {} is not an array of numbers; store it as one'.format(
                    source, key))
        images, labels = arrays[split + '_dataset'], arrays[split + '_labels']
        problem = _problem(images, labels)
        if problem:
            raise DataError('{}: {}_{}'.format(source, split, problem))


def class_names(source):
    """Return the names of the ten classes: digits where a set is called mnist, else A to J."""
    name = os.path.basename(os.path.abspath(source)).lower().replace('notmnist', '')
    return '0123456789' if 'mnist' in name else 'ABCDEFGHIJ'


def sorted_labels(labels):
    """Return whether labels, int [n], stand in sorted order: minibatches cannot learn from that."""
    labels = np.asarray(labels)
    return len(labels) > 1 and labels[0] != labels[-1] and bool((labels[1:] >= labels[:-1]).all())


# ---- what the arrays must be -----------------------------------------------------------------


def _problem(images, labels):
    """Return what is wrong with the images and labels of one split, or None."""
    if images.shape[1:] != (28, 28):
        return 'dataset has the shape {}, not [n, 28, 28]; scale the images to 28x28'.format(
            list(images.shape))
    if labels.dtype.kind not in 'ui' or labels.ndim < 1 or labels.size != len(labels):
        return 'labels are not one whole number per image; store them as integers [n], 0 to 9'
    if len(images) != len(labels):
        return 'dataset has {} images for {} labels; store as many of both'.format(
            len(images), len(labels))
    if not len(images):
        return 'dataset is empty; give it at least one image'
    if labels.min() < 0 or labels.max() > 9:
        return 'labels run from {} to {}, not from 0 to 9; number the classes from 0'.format(
            labels.min(), labels.max())
    # The sum of finite pixels is finite, one with NaN or infinity is not: no array of flags.
    with np.errstate(all='ignore'):
        if images.dtype.kind == 'f' and not np.isfinite(images.sum(dtype=np.float64)):
            return 'dataset has pixels that are NaN or infinite; remove these images'
    return None


def _as_28x28(images):
    """Return images [n, 784] or [n, 28, 28, 1] as [n, 28, 28]; leave any other shape to check()."""
    if isinstance(images, np.ndarray) and images.shape[1:] in ((784,), (28, 28, 1), (1, 28, 28)):
        return images.reshape([-1, 28, 28])
    return images


def _to_bytes(images, source):
    """Return images of any pixel range as uint8.

    Of the usual normalisations, that one was used whose inverse comes nearest to whole numbers.
    """
    if images.dtype == np.uint8:
        return images if images.flags.writeable else images.copy()
    low, high = float(images.min()), float(images.max())
    if images.dtype.kind != 'f':
        ways = [(255, 0)] if images.dtype.kind == 'b' else [(1, 0)]
    elif low < 0:
        # (p - 128) / 255 as in the notes, p / 255 - 1/2, p / 127.5 - 1, (p - 128) / 128
        ways = [(255, 128), (255, 127.5), (127.5, 127.5), (128, 128)]
    else:
        ways = [(255, 0), (256, 0), (1, 0)] if high <= 1 else [(1, 0)]
    # Half a level of slack: images that were scaled after normalisation overshoot a little.
    ways = [(scale, shift) for scale, shift in ways
            if low * scale + shift > -0.5 and high * scale + shift < 255.5]
    if not ways:
        raise DataError('{}: pixels run from {:.3g} to {:.3g}; store them as 0 to 255, 0 to 1 or '
                        '-0.5 to 0.5'.format(source, low, high))

    def distance(way):
        levels = images[:1000].astype(np.float64) * way[0] + way[1]
        return round(float(np.abs(levels - np.rint(levels)).max()), 2)

    scale, shift = min(ways, key=distance)
    pixels = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), 10000):  # in pieces: a float copy of all would be 1.4 GB
        piece = images[start:start + 10000].astype(np.float64)
        pixels[start:start + 10000] = np.rint(piece * scale + shift).clip(0, 255)
    return pixels


def _split_off_validation(arrays):
    """Make the last twelfth of the training set the validation set, where there is none."""
    if 'valid_dataset' not in arrays and 'train_dataset' in arrays and 'train_labels' in arrays:
        for kind in ('dataset', 'labels'):
            whole = arrays['train_' + kind]
            cut = len(whole) - len(whole) // 12
            arrays['train_' + kind], arrays['valid_' + kind] = whole[:cut], whole[cut:]
    return arrays


# ---- files -----------------------------------------------------------------------------------


def _read_file(path):
    """Read one file, by what its first bytes say it is."""
    with open_unpacked(path) as file:
        start = file.read(512)
        file.seek(0)
        if not start:
            raise DataError('{} is empty; get or make it again'.format(path))
        if start[:2] == b'PK':
            return _name_arrays(_read_npz(file, path), path)
        if start[:3] == b'\0\0\x08':
            return _read_idx_folder(os.path.dirname(os.path.abspath(path)))
        if start[:1] in (b'\x80', b'(', b'c', b'}', b']'):
            return _name_arrays(pickles.load(file, path), path)
    if start[257:262] == b'ustar':
        raise _is_archive(path)
    raise DataError('{} is in none of the forms that are read: npz, pickle, IDX, a folder of PNGs'
                    .format(path))


def _name_arrays(found, path):
    """Give the six names to arrays under Keras' four names or in mnist.pkl.gz's three pairs."""
    if isinstance(found, (tuple, list)) and [
            isinstance(pair, (tuple, list)) and len(pair) for pair in found] == [2, 2, 2]:
        return dict(zip(KEYS, [array for pair in found for array in pair]))
    if not isinstance(found, dict):
        raise DataError('{} holds no data set but one {}; it takes the arrays {}'.format(
            path, type(found).__name__.strip('_').lower(), ', '.join(KEYS)))
    if 'x_train' in found:
        names = dict(zip(KERAS_KEYS, KEYS[:2] + KEYS[4:]))
        return {names[key]: found[key] for key in KERAS_KEYS if key in found}
    return found


def _read_npz(file, path):
    """Return the arrays of an npz that bear one of the names we know."""
    with zipfile.ZipFile(file) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > LIMIT:
            raise too_large(path)
        if any(name.endswith('.png') for name in archive.namelist()):
            raise _is_archive(path)
        for entry in archive.infolist():
            if os.path.splitext(entry.filename)[0] in KEYS + KERAS_KEYS:
                _check_entry(archive, entry, path)
    file.seek(0)
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files if key in KEYS + KERAS_KEYS}
    except ValueError as error:
        if 'allow_pickle' not in str(error):
            raise
        raise DataError('{} holds Python objects, which are not read; store its arrays as numbers'
                        .format(path))


def _check_entry(archive, entry, path):
    """Raise DataError for an entry that would do harm on its way through zipfile and NumPy."""
    if entry.compress_type not in ZIPPED or entry.flag_bits & 1:
        raise DataError('{}: {} is compressed or encrypted as NumPy does not write; store it anew'
                        .format(path, entry.filename))
    with archive.open(entry) as file:
        start = file.read(12)
    size, = struct.unpack('<I' if start[6:7] > b'\1' else '<H2x', start[8:12].ljust(4, b'\0'))
    if start.startswith(b'\x93NUMPY') and size > HEADER:  # NumPy has Python parse it
        raise DataError('{}: {} has a header of {} bytes, as no array of numbers has; store it anew'
                        .format(path, entry.filename, size))


def _is_archive(path):
    return DataError('{0} is an archive of images; make a data set of it with `python -m '
                     'data.notmnist --small-only --small {0}`'.format(path))


def _read_idx(path, kind, dimensions):
    """Read one IDX file of unsigned bytes: images (3 dimensions) or labels (1)."""
    with open_unpacked(path) as file:
        magic, head = file.read(4), file.read(4 * dimensions)
        if magic != bytes([0, 0, 8, dimensions]):
            raise DataError('{} is not an IDX file of {} (it starts with {}); get it again'.format(
                path, kind, magic.hex() or 'nothing'))
        if len(head) < 4 * dimensions:
            raise DataError('{} is cut off within its header; get it again'.format(path))
        shape = struct.unpack('>{}I'.format(dimensions), head)
        size = 1
        for length in shape:  # Python's integers: a forged header cannot overflow them
            size *= length
        content = file.read(min(size, LIMIT) + 1)
    if len(content) != size:
        raise DataError('{} announces {} bytes of {} and holds {}{}: it is cut off or damaged; get '
                        'it again'.format(path, size, kind, 'more than ' * (len(content) > size),
                                          min(len(content), size)))
    return np.frombuffer(content, np.uint8).reshape(shape)


# ---- folders ---------------------------------------------------------------------------------


def _read_folder(path):
    """Read a folder of IDX files or of PNGs, by what lies in it."""
    names = os.listdir(path)
    if any(re.search('idx[13]-ubyte(.gz)?$', name) for name in names):
        return _read_idx_folder(path)
    for folders in (('train', 'valid', 'test'), ('notMNIST_large', None, 'notMNIST_small')):
        if folders[0] in names and folders[2] in names:
            arrays = {}
            for split, folder in zip(SPLITS, folders):
                if folder in names:
                    images, labels = _read_pngs(os.path.join(path, folder))
                    order = np.random.RandomState(SEED).permutation(len(images))
                    arrays[split + '_dataset'] = images[order]
                    arrays[split + '_labels'] = labels[order]
            return arrays
    return dict(zip(KEYS, carve(*_read_pngs(path), seed=SEED)))


def _read_pngs(path):
    """Read a folder of PNGs; a few unreadable ones are named on stderr and skipped."""
    pixels, labels = bytearray(), []
    bad = read_images(path, pixels, labels)
    if len(bad) > 1 + len(labels) // 100:  # the original notMNIST has two in 18,726
        raise DataError('{} has {} unreadable images beside {} good ones (first {}); get it again'
                        .format(path, len(bad), len(labels), bad[0]))
    if bad:
        print('{}: {} unreadable images skipped: {}'.format(path, len(bad), ', '.join(bad)),
              file=sys.stderr)
    return np.frombuffer(pixels, np.uint8).reshape([-1, 28, 28]), np.array(labels)


def _read_idx_folder(path):
    """Read the four IDX files in a folder, raw or gzipped, under either of their usual names."""
    arrays = {}
    for key, stem, kind, dimensions in IDX_FILES:
        name = '{}-idx{}-ubyte'.format(stem, dimensions)
        names = sorted(file for file in os.listdir(path) if re.match(
            '{}[-.]idx{}-ubyte(.gz)?$'.format(stem, dimensions), file))
        if not names:
            raise DataError('{0} has no file {1} or {1}.gz; put all four IDX files there'.format(
                path, name))
        arrays[key] = _read_idx(os.path.join(path, names[0]), kind, dimensions)
    return arrays
