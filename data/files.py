"""Files, whole or not at all: written, downloaded, unpacked; and what goes wrong, as a sentence."""
import bz2
import contextlib
import gzip
import hashlib
import http.client
import io
import lzma
import os
import sys
import tempfile
import time
import urllib.request
import zipfile
import zlib

import numpy as np

LIMIT = 2 << 30  # bytes: the notes' pickle is 0.7 GB; what unpacks to more is a mistake or a trap
PACKED = {b'\x1f\x8b': gzip, b'BZh': bz2, b'\xfd7zXZ': lzma}
TIMEOUT = 5  # seconds without an answer; then the next host is tried
SLOWEST = 1000  # bytes a second, on average; what is slower has stalled
AGENT = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'  # one host refuses Python's own name


class DataError(ValueError):
    """A file cannot be used; the message is one sentence: what is wrong where, and the way out."""

    def __init__(self, message):
        super().__init__(printable(message))


class HostError(Exception):
    """A host has not given the file; the message says in a few words why."""


def printable(text):
    """Return text on one line: a file's name, or what it holds, can be anything."""
    return ''.join(letter if letter.isprintable() else '?' for letter in text)


def plain(error):
    """Return an exception as a few words on one line."""
    words = ' '.join(str(getattr(error, 'strerror', None) or error).split()).rstrip('.')[:120]
    return words or type(error).__name__


@contextlib.contextmanager
def quiet_stderr():
    """Keep what native code writes to stderr out of sight, unless the block fails.

    TensorFlow prints lines at its import and first session that no setting of its own stops.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            if failed:
                kept.seek(0)
                os.write(2, kept.read())


def run(name, parser, main):
    """Run main(flags) as `python -m data.NAME`: what is wrong is one sentence on stderr, exit 2."""
    def refuse(message):
        raise DataError(message)

    parser.prog, parser.error = 'python -m data.' + name, refuse  # else it prints the usage too
    try:
        main(parser.parse_args())
        sys.stdout.flush()
    except DataError as error:
        print('{}: {}'.format(parser.prog, error), file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # of its own output, say, into a file on a full disk
        with contextlib.suppress(OSError):  # nothing more of it at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print('{}: stopped by an error of the system ({}); check permissions and the room on the '
              'disk'.format(parser.prog, printable(str(error))), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('{}: stopped; nothing was written'.format(parser.prog), file=sys.stderr)
        sys.exit(130)


def progress(what, done, total, started):
    """Show on a terminal how far a long work is and the time left; `started` is time.time()."""
    if sys.stderr.isatty():
        left = (time.time() - started) * (total - done) / max(done, 1)
        line = '{} {:3.0f}%  {:.0f} s left'.format(what, 100 * done / max(total, 1), left)
        sys.stderr.write('\r' + line.ljust(78) + ('\r' + ' ' * 78 + '\r' if done >= total else ''))
        sys.stderr.flush()


def open_stream(path):
    """Open a file for reading bytes; return (file, stream): what is compressed is unpacked in
    stream, bit by bit as it is read. Raises DataError for a pipe or a device, which could wait or
    go on for ever.
    """
    if not os.path.isfile(path):
        raise DataError('{} is not an ordinary file; give one, or a folder'.format(path))
    file = open(path, 'rb')
    start = file.read(6)
    file.seek(0)
    for magic, module in PACKED.items():
        if start.startswith(magic):
            return file, module.open(file)
    return file, file


def open_unpacked(path):
    """Open a file for reading bytes; what is compressed is unpacked into memory, up to LIMIT."""
    file, stream = open_stream(path)
    if stream is file:
        return file
    unpacked = io.BytesIO()
    try:
        with file, stream:
            for piece in iter(lambda: stream.read(1 << 24), b''):
                unpacked.write(piece)
                if unpacked.tell() > LIMIT:
                    raise too_large(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError('{} is damaged or cut off ({}); get it again'.format(path, plain(error)))
    unpacked.seek(0)
    return unpacked


def too_large(path):
    """Return the DataError for a file that unpacks to more than any of these data sets."""
    return DataError('{} unpacks to more than {} GB, which no set of these images takes; get it '
                     'again'.format(path, LIMIT >> 30))


def write(path, arrays):
    """Write arrays (a dict of NumPy arrays) as a compressed npz: whole, or not at all.

    The same arrays give the same bytes. Compression is zlib's fastest: a notMNIST of 220,000 images
    is then 76 instead of 172 MB and loads in 0.8 s; the usual level would take 1.0 s for 69 MB.
    Raises DataError where the file cannot be written; a file that was there stays as it was.
    """
    part = part_of(path)
    try:
        with zipfile.ZipFile(part, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in arrays:
                entry = zipfile.ZipInfo(name + '.npy')  # dated 1980, not now
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry._compresslevel = 1  # an entry of one's own does not take the archive's level
                entry.external_attr = 0o644 << 16
                entry.create_system = 3  # the same bytes on every system and from every Python
                entry.create_version = entry.extract_version = 45
                entry.file_size = arrays[name].nbytes + 128  # or so: tells whether zip64 is needed
                with archive.open(entry, 'w') as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(arrays[name]),
                                              version=(1, 0), allow_pickle=False)
        os.replace(part, os.path.realpath(path))
    except OSError as error:
        raise cannot_write(path, error)
    finally:  # also on Ctrl-C: nothing half-written stays
        with contextlib.suppress(OSError):
            os.remove(part)


def cannot_write(path, error):
    """Return the DataError for a file that cannot be written."""
    return DataError('{} cannot be written ({}); make room or give another file with --out'.format(
        path, plain(error)))


def part_of(path):
    """Return a name for what is to become `path`: beside it, and no other process's."""
    return '{}.{}.part'.format(os.path.realpath(path), os.urandom(4).hex())


def check_writable(path):
    """Raise DataError where `path` cannot be written, before an hour's work finds out."""
    part = part_of(path)
    try:
        if os.path.isdir(path or '.'):
            raise IsADirectoryError('it is a folder')
        if os.path.exists(path):
            if not os.path.isfile(path):  # /dev/null would be replaced by a file
                raise OSError('it is not an ordinary file')
            if not os.access(path, os.W_OK):
                raise OSError('it is write-protected')
        open(part, 'wb').close()
        os.remove(part)
    except OSError as error:
        raise cannot_write(path, error)


def is_whole(path, size, algorithm, digest):
    """Return whether a file has this size (None: any) and this checksum."""
    if not os.path.isfile(path) or size not in (None, os.path.getsize(path)):
        return False
    found = hashlib.new(algorithm)
    with open(path, 'rb') as file:
        for piece in iter(lambda: file.read(1 << 20), b''):
            found.update(piece)
    return found.hexdigest() == digest


def fetch(sources, folder, way_out):
    """Return the path of a verified download in `folder`, from there or from the first good host.

    sources: tuples (url, size in bytes or None, algorithm, hex digest), tried in turn, each from
    the first byte. Raises DataError with every host's reason, followed by `way_out`, and where
    `folder` cannot be written.
    """
    for url, size, algorithm, digest in sources:
        path = os.path.join(folder, os.path.basename(url))
        if is_whole(path, size, algorithm, digest):
            return path
    reasons = []
    for url, size, algorithm, digest in sources:
        path = os.path.join(folder, os.path.basename(url))
        part = part_of(path)
        try:
            os.makedirs(folder, exist_ok=True)
            with open(part, 'wb') as file:
                for piece in _download(url, size or LIMIT):
                    file.write(piece)
            if not is_whole(part, size, algorithm, digest):
                raise HostError('cut off or changed: {} bytes with a wrong size or checksum'.format(
                    os.path.getsize(part)))
            os.replace(part, path)
            return path
        except HostError as error:
            reasons.append('{}: {}'.format(url.split('/')[2], error))
        except OSError as error:  # this machine's fault: other hosts would not help
            raise DataError('{} cannot be written ({}); make room there, or {}'.format(
                path, plain(error), way_out))
        finally:
            with contextlib.suppress(OSError):
                os.remove(part)
    raise DataError('{} could not be downloaded ({}); {}'.format(
        os.path.basename(sources[0][0]), '; '.join(reasons), way_out))


def _download(url, size):
    """Yield what is at a URL in pieces, `size` bytes and one piece at most. Raises HostError."""
    request = urllib.request.Request(url, headers={'User-Agent': AGENT})
    done, started = 0, time.time()
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
            while done <= size:
                piece = reply.read1(1 << 16)  # what has come so far; read() would wait for more
                if not piece:
                    break
                yield piece
                done += len(piece)
                progress('Downloading ' + os.path.basename(url), min(done, size), size, started)
                if time.time() - started > TIMEOUT + done / SLOWEST:
                    raise HostError('only {} bytes in {:.0f} s'.format(done, time.time() - started))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise HostError(plain(getattr(error, 'reason', error)))
