"""Downloads from hosts that misbehave, disks without room, archives with traps in them."""
import bz2
import contextlib
import gzip
import hashlib
import http.server
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from conftest import ROOT, contents, deadline, no_room
from data import archives, files, formats, notmnist, png
from data.formats import DataError
from tests.test_formats import chunk, make_png
from tests.test_notmnist import glyphs, members, read_all, write_folder, write_tar, write_zip

WHOLE = b'an archive' * 5000


# ---- hosts -----------------------------------------------------------------------------------


class Host:
    """A server on this machine: /KIND/NAME answers in the manner of KIND."""

    def __init__(self):
        self.asked, self.content, host = [], WHOLE, self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                host.asked.append(self.path.split('/')[1])
                with contextlib.suppress(OSError):  # the other side has given up
                    host.answer(self, host.asked[-1])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.address = 'http://127.0.0.1:{}/'.format(self.server.server_port)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def answer(self, request, kind):
        content, send = self.content, request.wfile.write
        request.close_connection = kind != 'kept'
        if kind == 'missing' or kind == 'agent' and 'Python' in request.headers['User-Agent']:
            request.send_error(404 if kind == 'missing' else 406)
        elif kind == 'picky':
            request.send_error(406)
        elif kind in ('moved', 'circle', 'local', 'crooked'):
            request.send_response(302)
            request.send_header('Location', {'moved': request.path.replace('moved', 'good'),
                                             'circle': request.path,
                                             'local': 'file:///etc/passwd',
                                             'crooked': 'http://['}[kind])
            request.send_header('Content-Length', '0')
            request.end_headers()
        elif kind == 'dumb':
            send(b'220 mail.example.org ready\r\n')
        elif kind != 'closed':
            request.send_response(200)
            if kind != 'long':  # that one just goes on
                request.send_header('Content-Length', {'odd': 'some'}.get(kind, str(len(content))))
            request.end_headers()
            if kind == 'changed':
                send(content[::-1])
            elif kind == 'long':
                send(content + b'x' * 99999)
            elif kind in ('cut', 'stalled', 'half'):
                send(content[:len(content) // 2])
                time.sleep({'cut': 0, 'stalled': 1.5, 'half': 0.4}[kind])
                send(content[len(content) // 2:] if kind == 'half' else b'')
            elif kind == 'dripping':
                for _ in range(40):
                    send(b'x')
                    time.sleep(0.05)
            else:
                send(content)


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setattr(files, 'TIMEOUT', 0.5)
    host = Host()
    yield host
    host.server.shutdown()
    host.thread.join()
    host.server.server_close()


def sources(host, *kinds):
    digest = hashlib.sha256(host.content).hexdigest()
    return [(host.address + kind + '/a.tar.gz', len(host.content), 'sha256', digest)
            for kind in kinds]


def names(folder):
    return sorted(os.listdir(str(folder)))


@pytest.mark.parametrize('kind', ['good', 'agent', 'moved', 'kept', 'half', 'odd'])
def test_download_is_kept_and_not_repeated(tmp_path, host, kind):
    for _ in range(2):
        with deadline(5):
            path = files.fetch(sources(host, kind), str(tmp_path / 'new'), 'way out')
        assert open(path, 'rb').read() == WHOLE
    assert names(tmp_path / 'new') == ['a.tar.gz'] and host.asked.count(kind) == 1


BAD = {  # what a host does: words of the reason
    'missing': 'Not Found', 'picky': 'Not Acceptable', 'cut': 'cut off or changed: 25000 bytes',
    'changed': 'wrong size or checksum', 'long': 'wrong size or checksum', 'stalled': 'timed out',
    'dripping': 'bytes in', 'circle': 'redirect', 'local': 'not allowed',
    'crooked': 'Invalid', 'dumb': '220 mail.example.org', 'closed': 'closed connection'}


@pytest.mark.parametrize('kind', sorted(BAD))
def test_a_bad_host_is_passed_over_and_nothing_of_it_stays(tmp_path, host, kind):
    with pytest.raises(DataError) as caught, deadline(5):
        files.fetch(sources(host, kind), str(tmp_path), 'the way out')
    assert BAD[kind] in str(caught.value) and names(tmp_path) == []
    path = files.fetch(sources(host, kind, 'good'), str(tmp_path), 'the way out')
    assert open(path, 'rb').read() == WHOLE and names(tmp_path) == ['a.tar.gz']


def test_all_reasons_stand_in_the_sentence_before_the_way_out(tmp_path, host):
    kinds = ['missing', 'picky', 'cut', 'changed']
    nobody = [('http://127.0.0.1:9/a.tar.gz',) + sources(host, 'x')[0][1:]]
    with pytest.raises(DataError) as caught:
        files.fetch(sources(host, *kinds) + nobody, str(tmp_path), 'the way out')
    sentence = str(caught.value)
    found = [sentence.index(BAD[kind]) for kind in kinds] + [sentence.index('refused')]
    assert found == sorted(found) and sentence.count('127.0.0.1') == 5
    assert sentence.endswith('; the way out') and '\n' not in sentence
    assert host.asked == kinds and names(tmp_path) == []


def test_a_partial_file_in_the_folder_is_not_taken_as_whole(tmp_path, host):
    (tmp_path / 'a.tar.gz').write_bytes(WHOLE[:-9])
    path = files.fetch(sources(host, 'good'), str(tmp_path), 'way out')
    assert open(path, 'rb').read() == WHOLE and host.asked == ['good']


def test_a_download_that_is_killed_leaves_nothing_that_looks_whole(tmp_path, host):
    code = 'from data import files; files.fetch({!r}, {!r}, "")'.format(
        sources(host, 'stalled'), str(tmp_path))
    process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT)
    with deadline(10):
        while not names(tmp_path):
            time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [name.endswith('.part') for name in names(tmp_path)] == [True]
    path = files.fetch(sources(host, 'good'), str(tmp_path), 'way out')
    assert open(path, 'rb').read() == WHOLE


def test_a_full_disk_is_not_the_hosts_fault(tmp_path, host):
    (tmp_path / 'a.tar.gz').write_bytes(b'older')
    with pytest.raises(DataError, match='cannot be written .File too large.; make room.*way out'), \
            no_room(10000):
        files.fetch(sources(host, 'good', 'moved'), str(tmp_path), 'the way out')
    assert host.asked == ['good']  # another host would not help
    assert contents(tmp_path) == {str(tmp_path / 'a.tar.gz'): b'older'}


def test_a_read_only_folder_is_said(bound, host):
    bound.chmod(0o500)
    for folder in (bound, bound / 'downloads'):
        with pytest.raises(DataError, match='cannot be written .Permission denied'):
            files.fetch(sources(host, 'good', 'moved'), str(folder), 'the way out')
    bound.chmod(0o700)
    assert names(bound) == []


def test_processes_that_prepare_the_same_data_at_once_make_one_whole_result(tmp_path, host):
    write_tar(tmp_path / 'small.tar.gz', members('s', *glyphs(60, 1)))
    host.content = (tmp_path / 'small.tar.gz').read_bytes()
    make = ['--small-only', '--train', '40', '--valid', '10', '--out']
    code = ('import sys; from data import notmnist\n'
            'notmnist.ARCHIVES["small"], notmnist.DOWNLOADS = {!r}, {!r}\n'
            'notmnist.show.run("notmnist", notmnist.build_parser(), notmnist.main)').format(
                sources(host, 'half'), str(tmp_path / 'downloads'))
    processes = [subprocess.Popen([sys.executable, '-c', code] + make + [str(tmp_path / 'o.npz')],
                                  cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                 for _ in range(3)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, said
    assert names(tmp_path) == ['downloads', 'o.npz', 'small.tar.gz']
    assert names(tmp_path / 'downloads') == ['a.tar.gz']
    assert len(host.asked) > 1  # they were at it together
    notmnist.main(notmnist.build_parser().parse_args(
        make + [str(tmp_path / 'alone.npz'), '--small', str(tmp_path / 'small.tar.gz')]))
    assert (tmp_path / 'o.npz').read_bytes() == (tmp_path / 'alone.npz').read_bytes()


# ---- archives: what is in them ---------------------------------------------------------------


def add(archive, name, content=b'', kind=tarfile.REGTYPE, link='/etc/passwd'):
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = len(content), kind, link
    archive.addfile(entry, io.BytesIO(content))


GOOD = members('x', *glyphs(10, 1))
STRANGE = {  # member: words of the reason
    '../../A/up.png': 'leads out', '/tmp/x/B/root.png': 'leads out',
    'x/../../C/up.png': 'leads out', 'x/A/link.png': 'not an ordinary file',
    'x/A/readme.txt': 'not a .png',
    'x/C/large.png': 'too large', 'x/D/text.png': 'not a PNG image', 'x/E/empty.png': 'empty',
    'x/F/huge.png': '2147483647x2147483647 pixels', 'x/G/\n\x1b[2J\udcff.png': 'empty'}


def strange_content(name):
    if 'large' in name:
        return bytes(1 << 20)
    if 'huge' in name:
        return (png.SIGNATURE + chunk(b'IHDR', b'\x7f\xff\xff\xff' * 2 + b'\x08\0\0\0\0') +
                GOOD[0][1][33:])
    return {'text': b'hello', 'empty': b'', 'readme': b'hi'}.get(
        name.split('/')[-1].split('.')[0], b'' if '\n' in name else GOOD[0][1])


def check_strange(path, strange):
    """Only the good images come out, each of the others is named, nothing else is on the disk."""
    before = contents(os.path.dirname(path))
    found, labels, bad = read_all(path)
    assert len(found) == 10 and sorted(labels) == list(range(10))
    assert len(bad) == len(strange) and all(line.isprintable() for line in bad)
    for name, reason in strange.items():
        shown = name.replace('\n\x1b[2J\udcff', '??[2J?')
        assert any(line.split(': ')[0].endswith(shown) and reason in line for line in bad), name
    assert contents(os.path.dirname(path)) == before


@pytest.mark.parametrize('mode', ['w', 'w:gz', 'w:xz'])
def test_strange_members_of_a_tar_are_skipped_by_name(tmp_path, mode):
    path = str(tmp_path / 'in' / 'a')
    os.makedirs(os.path.dirname(path))
    more = {'x/A/hard.png': tarfile.LNKTYPE, 'x/A/tty.png': tarfile.CHRTYPE,
            'x/A/pipe.png': tarfile.FIFOTYPE}
    with tarfile.open(path, mode, errors='surrogateescape') as archive:
        add(archive, 'x/A', kind=tarfile.DIRTYPE)
        add(archive, 'x/A/.hidden.png', b'?')
        add(archive, 'x/Z/other.png', b'?')
        for name in STRANGE:
            kind = tarfile.SYMTYPE if 'link' in name else tarfile.REGTYPE
            add(archive, name, b'' if 'link' in name else strange_content(name), kind)
        for name, kind in more.items():
            add(archive, name, kind=kind, link='x/A/00000.png')
        for name, content in GOOD:
            add(archive, name, content)
    check_strange(path, dict(STRANGE, **{name: 'not an ordinary file' for name in more}))


def test_strange_members_of_a_zip_are_skipped_by_name(tmp_path):
    path = str(tmp_path / 'in' / 'a')
    os.makedirs(os.path.dirname(path))
    strange = {name: reason for name, reason in STRANGE.items() if '\n' not in name}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in GOOD:
            archive.writestr(name, content)
        for name in strange:
            entry = zipfile.ZipInfo(name)
            if 'link' in name:
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, strange_content(name))
        archive.writestr('x/A/packed.png', GOOD[0][1], zipfile.ZIP_BZIP2)
    check_strange(path, dict(strange, **{'x/A/packed.png': 'not an ordinary file'}))


def test_strange_files_of_a_folder_are_skipped_by_name(tmp_path):
    write_folder(tmp_path / 'in', GOOD)
    strange = {name: reason for name, reason in STRANGE.items() if 'leads' not in reason}
    del strange['x/A/link.png']
    for name in strange:
        (tmp_path / 'in' / name).write_bytes(strange_content(name))
    os.mkfifo(str(tmp_path / 'in/x/A/pipe.png'))
    os.symlink('nowhere', str(tmp_path / 'in/x/A/gone.png'))
    strange.update({'x/A/pipe.png': 'not an ordinary file', 'x/A/gone.png': 'not an ordinary file'})
    with deadline(5):
        check_strange(str(tmp_path / 'in'), strange)


def test_the_command_names_what_it_skips_on_a_line_of_its_own(tmp_path, capsys):
    small = write_folder(tmp_path / 's', members('s', *glyphs(40, 1)) + [('s/A/\n\udcff.png', b'')])
    notmnist.main(notmnist.build_parser().parse_args(
        ['--small-only', '--small', small, '--train', '20', '--valid', '10', '--out',
         str(tmp_path / 'o.npz')]))
    assert '\n  {}/s/A/??.png: empty\n'.format(small) in capsys.readouterr().out


# ---- archives: damage and bombs --------------------------------------------------------------


def refused(path, *words):
    """The sentence with which an archive is refused, in little time and memory."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught, deadline(20):
            read_all(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    sentence = str(caught.value)
    assert str(path) in sentence and '\n' not in sentence
    for word in words:
        assert word in sentence


@pytest.mark.parametrize('kind', ['tar.gz', 'tar.bz2', 'tar.xz', 'tar', 'zip'])
def test_cut_or_foreign_archives_are_one_sentence(tmp_path, kind):
    entries = members('x', *glyphs(50, 1))
    path = tmp_path / 'a'
    write_zip(path, entries) if kind == 'zip' else write_tar(path, entries, 'w' + kind[3:].replace(
        '.', ':'))
    whole = path.read_bytes()
    for content in (whole[:len(whole) // 2], whole[:-9] if kind != 'tar' else whole[:1536],
                    whole[:20], b'', b'no archive' * 99,
                    whole[:300] + b'????' + whole[304:] if kind != 'zip' else b'PK'):
        path.write_bytes(content)
        refused(path)


def test_a_damaged_header_within_a_tar_does_not_end_it_without_a_word(tmp_path):
    path = tmp_path / 'a.tar'
    write_tar(path, GOOD, 'w')
    whole = path.read_bytes()
    third = whole.index(GOOD[3][0].encode())
    path.write_bytes(whole[:third] + b'?' + whole[third + 1:])
    refused(path, 'a damaged header')
    path.write_bytes(whole[:third])  # cut between two members
    refused(path, 'it stops within')


def test_a_tar_gz_of_which_only_the_checksum_is_wrong_is_refused(tmp_path):
    path = tmp_path / 'a.tar.gz'
    write_tar(path, GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
    refused(path, 'CRC')


def claim(entry, size):
    """A tar's header that claims so many bytes."""
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


def test_what_claims_absurd_sizes_is_refused_unread(tmp_path):
    path = tmp_path / 'a'
    for name in ('x/A/a.png', 'x/readme'):  # one is skipped by name, and then there is no more
        path.write_bytes(claim(tarfile.TarInfo(name), 1 << 40) + bytes(1024))
        refused(path, 'unpacks to more than 2 GB')
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE):
        entry = tarfile.TarInfo('x/A/a.png')
        entry.type = kind
        path.write_bytes(gzip.compress(claim(entry, 100 << 20) + bytes(100 << 20), 1))
        refused(path, '104857600 bytes')


def test_what_unpacks_without_an_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, 'LIMIT', 50 << 20)
    path = tmp_path / 'a'
    path.write_bytes(bz2.compress(claim(tarfile.TarInfo('x/note'), 10 << 20)) +
                     bz2.compress(bytes(100 << 20)))  # a few hundred bytes, 90 MB after the end
    assert path.stat().st_size < 1000
    refused(path, 'unpacks to more than')


def test_members_of_a_zip_that_hold_more_than_they_claim_stay_small(tmp_path):
    path = tmp_path / 'a.zip'
    with zipfile.ZipFile(str(path), 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('x/A/a.png', GOOD[0][1] + bytes(300 << 20))
    lie, size = len(GOOD[0][1]), len(GOOD[0][1]) + (300 << 20)
    whole = path.read_bytes()
    assert whole.count(size.to_bytes(4, 'little')) == 2
    path.write_bytes(whole.replace(size.to_bytes(4, 'little'), lie.to_bytes(4, 'little')))
    refused(path, 'CRC')


def test_a_zip_whose_list_bears_other_names_than_its_members_is_refused(tmp_path):
    path = tmp_path / 'a.zip'
    write_zip(path, GOOD)
    start, _, end = path.read_bytes().rpartition(b'x/J/')
    path.write_bytes(start + b'x/Z/' + end)  # one letter in the list: no class folder any more
    refused(path, 'differ')


def test_a_class_folder_that_cannot_be_read_is_not_passed_over(bound):
    write_folder(bound, GOOD)
    (bound / 'x' / 'J').chmod(0o000)
    refused(bound, 'Permission denied')
    (bound / 'x' / 'J').chmod(0o700)


def test_a_png_that_holds_more_pixels_than_it_says_stays_small():
    image = glyphs(1, 0)[0][0]
    whole = make_png(image)
    bombs = []
    for header in (whole[:33], make_png(image, header=whole[16:25] + b'\x02\0\0\0')[:33]):
        bombs.append(header + chunk(b'IDAT', files.zlib.compress(bytes(50 << 20))) +
                     chunk(b'IEND', b''))
    assert all(len(bomb) < archives.MAX_PNG for bomb in bombs)
    tracemalloc.start()
    images, good, bad = png.decode([whole] + bombs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(images[0], image)
    assert good[0] == 0 and 'wrong amount' in bad[1] and peak < 100 << 20


def test_an_npz_whose_arrays_are_packed_to_explode_is_refused(tmp_path):
    path = tmp_path / 'x.npz'
    with zipfile.ZipFile(str(path), 'w', zipfile.ZIP_BZIP2) as archive:
        archive.writestr('train_dataset.npy', bytes(100 << 20))
    tracemalloc.start()
    with pytest.raises(DataError, match='as NumPy does not write'):
        formats.read(str(path))
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
