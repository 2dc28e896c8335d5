"""PNG files to arrays, thousands at a time, without an image library.

notMNIST is half a million 28x28 greyscale PNGs. Called once for each of them, a decoder spends its
time on the calls; here zlib unpacks every image, and NumPy then undoes the row filters of a whole
batch at once: about 20 microseconds an image. A PNG of any other kind (colour, palette, 1 or 16
bits, interlaced) goes to TensorFlow's decoder, one by one.
"""
import struct
import zlib

import numpy as np

from data.files import quiet_stderr

SIGNATURE = b'\x89PNG\r\n\x1a\n'
# 28 x 28, 8 bits, greyscale, not interlaced: the whole header chunk with its checksum.
GREY_28 = SIGNATURE + b'\0\0\0\rIHDR' + struct.pack('>2I5B', 28, 28, 8, 0, 0, 0, 0) + b'Wf\x80H'
PACKED = 28 * (1 + 28)  # a row is its filter's number and 28 pixels


def decode(files):
    """Return the readable images and the reasons for the others.

    files: a list of PNG files' contents (bytes).
    Returns (images uint8 [n, 28, 28], good int [n], bad {index: reason}): `good` holds the indices
    in `files` of the n images, in order. Raises nothing for a damaged file: that one is in `bad`.
    """
    images = np.zeros([len(files), 28, 28], np.uint8)
    grey, rows, others, bad = [], [], [], {}
    for index, content in enumerate(files):
        try:
            if content.startswith(GREY_28):
                rows.append(_unpack(content))
                grey.append(index)
            else:
                _refuse(content)
                others.append(index)
        except (ValueError, zlib.error) as error:
            bad[index] = str(error)
    if rows:
        rows = np.frombuffer(b''.join(rows), np.uint8).reshape([-1, 28, 29])
        unknown = rows[:, :, 0].max(axis=1) > 4
        bad.update((grey[i], 'damaged: unknown row filter') for i in np.flatnonzero(unknown))
        images[grey] = _unfilter(rows)
    if others:
        for index, image in zip(others, _decode_others([files[i] for i in others])):
            if isinstance(image, str):
                bad[index] = image
            else:
                images[index] = image
    good = np.array([i for i in range(len(files)) if i not in bad], int)
    return (images if not bad else images[good]), good, bad


def _unpack(content):
    """Return the 812 bytes of filtered rows in an 8-bit greyscale PNG, checksums verified."""
    start, packed = len(GREY_28), b''
    while True:
        if start + 12 > len(content):
            raise ValueError('cut off')
        size, = struct.unpack_from('>I', content, start)
        kind, end = content[start + 4:start + 8], start + 8 + size
        if kind == b'IEND':
            break
        if content[end:end + 4] != struct.pack('>I', zlib.crc32(content[start + 4:end])):
            raise ValueError('damaged: wrong checksum')
        if kind == b'IDAT':
            packed += content[start + 8:end]
        start = end + 4
    unpacker = zlib.decompressobj()
    rows = unpacker.decompress(packed, PACKED + 1)  # never more: a bomb stays small
    if len(rows) != PACKED or not unpacker.eof:
        raise ValueError('damaged: wrong amount of pixels')
    return rows


def _unfilter(rows):
    """Undo the PNG row filters: uint8 [n, 28, 1 + 28] -> uint8 [n, 28, 28].

    A row of kind 1 was stored as differences to the pixel on the left, of kind 2 to the one above,
    of kind 3 to the mean of both, of kind 4 to whichever of left, above and upper left is nearest
    to left + above - upper left (Paeth). All sums are modulo 256, which uint8 does by itself.
    """
    kinds, pixels = rows[:, :, 0], rows[:, :, 1:].copy()
    above = np.zeros_like(pixels[:, 0])
    for y in range(28):
        line = pixels[:, y]
        for kind in range(1, 5):
            at = np.flatnonzero(kinds[:, y] == kind)
            if kind == 1:
                line[at] = np.cumsum(line[at], axis=1, dtype=np.uint8)
            elif kind == 2:
                line[at] += above[at]
            elif len(at):
                line[at] = _from_both(line[at], above[at], kind)
        above = line
    return pixels


def _from_both(line, above, kind):
    """Undo filter 3 or 4 in rows uint8 [n, 28], given the rows above them."""
    line, above = line.T.astype(np.int16), above.T.astype(np.int16)  # [28, n], column by column
    left = corner = np.zeros_like(line[0])
    for x, up in enumerate(above):
        if kind == 3:
            guess = (left + up) // 2
        else:
            to_left, to_up = np.abs(up - corner), np.abs(left - corner)
            to_corner = np.abs(left + up - 2 * corner)
            guess = np.where((to_left <= to_up) & (to_left <= to_corner), left,
                             np.where(to_up <= to_corner, up, corner))
        line[x] = left = (line[x] + guess) & 255
        corner = up
    return line.T


def _decode_others(files):
    """Return for each PNG of another kind its image uint8 [28, 28] in grey, or why it has none."""
    with quiet_stderr():
        import tensorflow.compat.v1 as tf
        with tf.Graph().as_default(), tf.Session() as session:
            content = tf.placeholder(tf.string, [])
            image = tf.io.decode_png(content, channels=1)
            decoded = []
            for file in files:
                try:
                    decoded.append(session.run(image, {content: file})[:, :, 0])
                except tf.errors.OpError:
                    decoded.append('damaged')
    return decoded


def _refuse(content):
    """Raise ValueError for what is not a PNG of 28x28 pixels."""
    if not content:
        raise ValueError('empty')
    if not content.startswith(SIGNATURE) or len(content) < len(GREY_28):
        raise ValueError('not a PNG image')
    width, height = struct.unpack('>2I', content[16:24])
    if (width, height) != (28, 28):
        raise ValueError('{}x{} pixels, not 28x28'.format(width, height))
