"""Several processes: the same network as one alone, whoever is killed, and nobody left behind."""
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

import cluster
import distributed
import layers
import utils
import tensorflow.compat.v1 as tf
from conftest import ROOT, run_here
from test_checkpoints import steps_and_test, weights

SMALL = '--data %s --hidden 64 --layers 4 --batch-size 30 '


# --------------------------------------------------------------------------- what it computes

@pytest.fixture
def known_start(monkeypatch):
    """Initial weights that do not depend on what else is in the graph."""
    monkeypatch.setattr(layers, 'initial_weights', lambda inputs, outputs, kind='he': tf.constant(
        np.random.RandomState(inputs).normal(0, (2 / inputs) ** 0.5, [inputs, outputs]),
        tf.float32))


@pytest.fixture
def places(monkeypatch):
    """A function: within this process, a parameter server for so many workers; all addresses."""
    monkeypatch.setattr(cluster, 'Watch', lambda needed, wait: SimpleNamespace(
        needed=needed, wait=wait))
    monkeypatch.setattr(cluster, 'end_as_told', lambda: None)

    def begin(count):
        ps, *workers = cluster.free_addresses(1 + count)
        tf.train.Server(tf.train.ClusterSpec({'ps': [ps], 'worker': workers}), 'ps', 0)
        return ps, workers
    return begin


def lines_of(command, monkeypatch, capsys):
    code, out, errors = run_here(command, monkeypatch, capsys)
    assert (code, errors) == (0, '')
    return steps_and_test(out)


def test_one_worker_prints_the_log_of_deep_nn(shapes, places, known_start, monkeypatch, capsys):
    command = ' ' + SMALL % shapes + '--dropout 0.5 --l2 0.001 --steps 41 --report-every 20'
    alone = lines_of('deep_nn.py' + command, monkeypatch, capsys)
    ps, workers = places(1)
    here = lines_of('distributed.py --ps %s --workers %s --job worker%s' % (
        ps, workers[0], command), monkeypatch, capsys)
    assert len(alone) == 4 and here == alone


def test_two_workers_step_like_one_with_twice_the_batch(shapes, places, known_start, tmp_path,
                                                        monkeypatch, capsys):
    ps, workers = places(2)
    shared = '--data %s --hidden 64 --layers 4 --l2 0.001 --dropout 1 --steps 8 --report-every 4 ' \
             '--checkpoint %s/' % (shapes, tmp_path)
    lines_of('deep_nn.py --batch-size 60 --lr 0.4 ' + shared + 'one', monkeypatch, capsys)

    arguments = '--ps %s --workers %s --batch-size 30 --lr 0.2 --job worker ' % (
        ps, ','.join(workers)) + shared + 'two'

    def second_worker():
        parser = utils.Flags('', 1, 1, 1.0, 1, 42)
        parser.table(distributed.FLAGS)
        flags = parser.parse_args(arguments.split() + ['--task', '1'])
        spec = tf.train.ClusterSpec({'ps': flags.ps, 'worker': flags.workers})
        server = cluster.serve(spec, flags)
        flags.workers = 2
        data = utils.load(shapes)
        net = distributed.build_graph(flags, data.train, spec, 1)
        distributed.train(net, data, flags, None, server, SimpleNamespace(wait=60), 1)

    thread = threading.Thread(target=second_worker, daemon=True)
    thread.start()
    lines_of('distributed.py ' + arguments, monkeypatch, capsys)
    thread.join(timeout=60)
    assert not thread.is_alive()
    one, two = weights(tmp_path / 'one'), weights(tmp_path / 'two')
    names = [name for name in one if name.startswith('forward/')]
    assert len(names) == 8 and one['global_step'] == two['global_step'] == 8
    start = np.random.RandomState(784).normal(0, (2 / 784) ** 0.5, [784, 64])
    assert abs(one['forward/layer1/weights'] - start).max() > 0.01
    for name in names:
        np.testing.assert_allclose(one[name], two[name], atol=2e-6, err_msg=name)


@pytest.mark.parametrize('waiting, left', [
    ([6], []),           # the rule
    ([5, 6], [5]),       # another worker's, who is slow to take it, or dead
    ([4, 6], []),        # a dead worker's
    ([4, 5, 6], [5])])
def test_a_token_of_a_worker_that_was_killed_is_not_used(waiting, left):
    with tf.Graph().as_default():
        tokens = cluster.Tokens(SimpleNamespace(local_step_init_op=tf.no_op()))
    queue, caught_up = list(waiting), []

    def run(op, feed=None):
        if op is tokens.put:
            return queue.append(feed[tokens.back])
        return queue.pop(0) if op is tokens.take else caught_up.append(op)
    session = SimpleNamespace(run=run)
    assert tokens.following(session, 5, queue.pop(0)) == 6
    assert queue == left
    assert caught_up == ([] if len(waiting) == 1 else [tokens.catch_up])


# -------------------------------------------------------------------------- flags and addresses

@pytest.mark.parametrize('flags, said', [
    ('', 'Give --local'),
    ('--ps here --workers b:2 --job worker', '"here" is not HOST:PORT'),
    ('--ps a:1 --workers b:2, --job worker', '"" is not HOST:PORT'),
    ('--ps a:0 --workers b:2 --job worker', 'a:0'),
    ('--ps a:65536 --workers b:2 --job worker', 'a:65536'),
    ('--ps a:x1 --workers b:2 --job worker', 'a:x1'),
    ('--ps a:1 --job worker', '--workers'),
    ('--workers a:1 --job worker', '--ps'),
    ('--ps a:1 --workers b:2', '--job'),
    ('--ps a:1 --workers b:2 --job chief', 'chief'),
    ('--ps a:1 --workers b:2,c:3 --job worker --task 2', 'none of the 2 that --workers'),
    ('--ps a:1 --workers b:2,c:3 --job ps --task 1', 'none of the 1 that --ps'),
    ('--ps a:1 --workers b:2,a:1 --job worker', 'twice'),
    ('--local 2 --job ps', '--local'),
    ('--local -1', '--local'),
    ('--local 2 --wait 0', '--wait'),
    ('--local 2 --data nowhere.npz', 'nowhere.npz'),
    ('--local 2 --checkpoint %s' % __file__, 'it is a file'),
])
def test_flags_that_do_not_fit_are_refused(flags, said, refused):
    assert said in refused('distributed.py ' + flags)


def test_a_taken_port_is_refused(refused):
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen(1)
        address = '127.0.0.1:%d' % taken.getsockname()[1]
        for job in ('ps', 'worker'):
            where = (address, 'b:2') if job == 'ps' else ('b:2', address)
            sentence = refused('distributed.py --ps %s --workers %s --job %s' % (where + (job,)))
            assert 'Port %s is taken' % address in sentence


def test_another_networks_checkpoint_is_refused(shapes, places, tmp_path, monkeypatch, capsys,
                                                refused):
    ps, workers = places(1)
    command = 'distributed.py --ps %s --workers %s --job worker --steps 2 --checkpoint %s ' % (
        ps, '%s', tmp_path) + SMALL % shapes
    lines_of(command % workers[0], monkeypatch, capsys)
    other = refused(command % cluster.free_addresses(1)[0] + '--l2 0.5')
    assert '--l2 0.001' in other and '--l2 0.5' in other
    more = refused(command % ','.join(cluster.free_addresses(2)))
    assert '--workers 1' in more and '--workers 2' in more


def test_answers_tells_a_tensorflow_server_from_others():
    nobody, server = cluster.free_addresses(2)
    tf.train.Server(tf.train.ClusterSpec({'ps': [server]}), 'ps', 0)
    assert cluster.answers(server) and not cluster.answers(nobody)
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen(1)
        threading.Thread(target=lambda: other.accept()[0].sendall(b'SSH-2.0-hello\r\n')).start()
        assert not cluster.answers('127.0.0.1:%d' % other.getsockname()[1])


def test_watch_ends_the_process_of_one_who_waits_in_vain(monkeypatch, capsys):
    codes, nobody = [], cluster.free_addresses(1)

    def leave(code):
        codes.append(code)
        watch.needed = []
    monkeypatch.setattr(os, '_exit', leave)
    start = time.time()
    watch = cluster.Watch(nobody, 0.7)
    watch.join(timeout=10)
    sentence = capsys.readouterr().err
    assert codes == [2] and nobody[0] in sentence and len(sentence.splitlines()) == 1
    assert 0.7 < time.time() - start < 5


def test_watch_ends_the_process_where_all_answer_and_nothing_moves(monkeypatch, capsys):
    codes, here = [], cluster.free_addresses(1)
    tf.train.Server(tf.train.ClusterSpec({'ps': here}), 'ps', 0)

    def leave(code):
        codes.append(code)
        watch.needed = []
    monkeypatch.setattr(os, '_exit', leave)
    watch = cluster.Watch(here, 0.6)
    for _ in range(25):  # as long as something moves, all is well
        time.sleep(0.1)
        watch.moved = time.time()
    assert codes == []
    watch.join(timeout=10)
    assert codes == [2] and 'nothing has moved' in capsys.readouterr().err


# ---------------------------------------------------- starting all of them: without TensorFlow

def launch(tmp_path, monkeypatch, capsys, body):
    """Run two "workers" and a "ps" with a body of Python; returns code, lines, stderr."""
    script = tmp_path / 'script.py'
    script.write_text('import os, sys, time, signal\n'
                      'name = sys.argv[sys.argv.index("--job") + 1] + sys.argv[-1]\n'
                      'folder = %r\n' % str(tmp_path) + body)
    monkeypatch.setattr(sys, 'argv', [str(script)])
    code = cluster.launch(2)
    out, errors = capsys.readouterr()
    assert not of_command(str(script))
    return code, sorted(out.splitlines()), errors


def of_command(word):
    """Ids of the processes, this one apart, that have a word in their command lines."""
    found = []
    for number in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/cmdline' % number) as file:
                if word in file.read() and int(number) != os.getpid():
                    found.append(int(number))
        except OSError:
            pass
    return found


def test_launch_passes_output_on_with_names(tmp_path, monkeypatch, capsys):
    code, lines, errors = launch(tmp_path, monkeypatch, capsys, (
        'print("here is", name)\n'
        'if name == "worker1": sys.stderr.write("wrong")\n'))
    assert lines == ['ps 0     | here is ps0', 'worker 0 | here is worker0',
                     'worker 1 | here is worker1']
    assert (code, errors) == (0, 'worker 1 | wrong\n')


def test_launch_returns_the_code_of_a_missed_target(tmp_path, monkeypatch, capsys):
    code, lines, _ = launch(tmp_path, monkeypatch, capsys, (
        'if name == "worker0": sys.exit(1)\n'
        'time.sleep(0.5)\n'
        'print("ended by itself")\n'))
    assert code == 1 and len(lines) == 2


def test_launch_ends_all_where_one_fails(tmp_path, monkeypatch, capsys):
    start = time.time()
    code, _, errors = launch(tmp_path, monkeypatch, capsys, (
        'if name == "worker1": sys.exit("no")\n'
        'time.sleep(60)\n').replace('sys.exit("no")', 'sys.stderr.write("no"), sys.exit(2)'))
    assert (code, errors) == (2, 'worker 1 | no\n') and time.time() - start < 20


def test_launch_starts_again_who_was_killed(tmp_path, monkeypatch, capsys):
    code, lines, errors = launch(tmp_path, monkeypatch, capsys, (
        'if name == "worker1" and not os.path.exists(folder + "/been"):\n'
        '    open(folder + "/been", "w").close()\n'
        '    os.kill(os.getpid(), signal.SIGKILL)\n'
        'print("done", name)\n'))
    assert code == 0 and len(lines) == 3
    assert 'worker 1 was killed by signal 9: started again' in errors


def test_launch_gives_up_on_who_is_always_killed(tmp_path, monkeypatch, capsys):
    code, _, errors = launch(tmp_path, monkeypatch, capsys, (
        'if name == "ps0": os.kill(os.getpid(), signal.SIGKILL)\n'
        'time.sleep(60)\n'))
    assert code == 2 and errors.count('started again') == cluster.RESTARTS


# ------------------------------------------------------------------------------ whole processes

class Started(subprocess.Popen):
    """A process of distributed.py, whose lines are collected as they come."""

    def __init__(self, flags):
        super().__init__([sys.executable, ROOT + '/distributed.py'] + flags.split(),
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         universal_newlines=True)
        self.lines, self.errors = [], []
        self.readers = [threading.Thread(target=lambda s=s, to=to: to.extend(iter(s.readline, '')))
                        for s, to in ((self.stdout, self.lines), (self.stderr, self.errors))]
        for reader in self.readers:
            reader.start()

    def until(self, pattern, seconds=60):
        """Wait for a line of its output."""
        end = time.time() + seconds
        while not any(re.search(pattern, line) for line in self.lines):
            assert time.time() < end and self.poll() is None, (pattern, self.lines, self.errors)
            time.sleep(0.005)

    def end(self, seconds=90):
        """Wait for its end; returns the exit code, stdout and stderr."""
        code = self.wait(timeout=seconds)
        for reader in self.readers:
            reader.join()
        return code, ''.join(self.lines), ''.join(self.errors)


@pytest.fixture
def start():
    """A function that starts a process; those that are left in the end are killed."""
    started = []

    def begin(flags):
        started.append(Started(flags))
        return started[-1]
    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_killed_and_started_again(shapes, tmp_path, start):
    run = SMALL % shapes + '--steps 201 --report-every 50 '
    whole = start(run + '--local 2 --plot {0}/plot --logdir {0}/board'.format(tmp_path))
    code, out, errors = whole.end()
    assert (code, errors) == (0, '')
    assert re.search(r'^worker 1 \| worker 1 of 2 joins at step 0$', out, re.M)
    expected = steps_and_test(re.sub(r'^worker 0 \| ', '', out, flags=re.M))
    assert [int(re.search(r'step +(\d+)', line).group(1)) for line in expected[:-1]] == [
        0, 50, 100, 150, 200]
    assert float(re.search(r'Test accuracy: ([\d.]+)%', expected[-1]).group(1)) > 90
    assert ' epoch 20.00 ' in expected[-2] and ' lr 0.0188' in expected[-2]
    assert (tmp_path / 'plot' / 'learning_curves.png').exists() and os.listdir(
        str(tmp_path / 'board'))

    ps, *workers = cluster.free_addresses(3)
    places = '%s --ps %s --workers %s --checkpoint %s/run ' % (run, ps, ','.join(workers), tmp_path)
    server, chief, worker = [start(places + who) for who in (
        '--job ps', '--job worker', '--job worker --task 1')]
    chief.until(r'^step  50/')
    chief.kill()
    before = steps_and_test(chief.end()[1])
    chief = start(places + '--job worker')
    chief.until(r'^step 150/')
    # What the chief does again is what would have been without its death.
    going_on = steps_and_test(''.join(chief.lines))
    at = int(re.search(r'^Going on from step (\d+)$', ''.join(chief.lines), re.M).group(1))
    assert at in (1, 51, 101)
    assert set(before) <= set(expected) and set(going_on) <= set(expected)
    assert any('joins at step %d' % at in line for line in worker.lines)

    worker.kill()
    worker.end()
    worker = start(places + '--job worker --task 1')
    ends = [process.end() for process in (chief, worker, server)]
    assert [(code, errors) for code, _, errors in ends] == [(0, '')] * 3
    assert int(re.search(r'worker 1 of 2 joins at step (\d+)', ends[1][1]).group(1)) > 100
    last = steps_and_test(ends[0][1])
    assert re.match(r'step 200/200 ', last[-2])
    assert abs(float(re.search(r'validation accuracy +([\d.]+)', last[-2]).group(1)) - float(
        re.search(r'validation accuracy +([\d.]+)', expected[-2]).group(1))) <= 2
    assert last[-1].startswith('Test accuracy: ')


@pytest.mark.parametrize('how', [signal.SIGINT] + [
    pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGTERM, signal.SIGKILL)])
def test_nobody_is_left_behind(how, shapes, tmp_path, start):
    mark = '%s/run' % tmp_path
    launcher = start('--local 2 --steps 1000000 --report-every 100 --checkpoint %s ' % mark
                     + SMALL % shapes)
    launcher.until(r'worker 0 \| distributed.py')
    assert len(of_command(mark)) == 4
    launcher.send_signal(how)
    code, _, errors = launcher.end(20)
    end = time.time() + 10
    while of_command(mark):
        assert time.time() < end, of_command(mark)
        time.sleep(0.1)
    assert code == (130 if how == signal.SIGINT else -how)
    assert how != signal.SIGINT or errors == 'distributed.py: Stopped by Ctrl-C.\n'


def test_a_parameter_server_that_is_not_there(shapes, start):
    ps, worker = cluster.free_addresses(2)
    code, _, errors = start('--ps %s --workers %s --job worker --wait 1 ' % (ps, worker)
                            + SMALL % shapes).end(60)
    assert code == 2 and len(errors.splitlines()) == 1
    assert 'No TensorFlow server has answered at %s for 1 seconds' % ps in errors


@pytest.mark.slow
def test_lists_that_differ_end_with_a_sentence(shapes, start):
    ps, worker, other = cluster.free_addresses(3)
    server = start('--ps %s --workers %s --job ps' % (ps, other))
    code, _, errors = start('--ps %s --workers %s --job worker --wait 2 ' % (ps, worker)
                            + SMALL % shapes).end(60)
    assert server.poll() is None
    assert code == 2 and len(errors.splitlines()) == 1
    assert 'nothing has moved for 6 seconds: give all the same --ps and --workers' in errors


@pytest.mark.slow
@pytest.mark.parametrize('job, task', [('ps', 0), ('worker', 0), ('worker', 1)])
def test_killed_where_launch_starts_again(job, task, shapes, tmp_path, start):
    mark = '%s/run' % tmp_path
    launcher = start('--local 2 --steps 401 --report-every 50 --checkpoint %s ' % mark
                     + SMALL % shapes)
    launcher.until(r'worker 0 \| step  50/')
    victim = [n for n in of_command(mark) if '--job\0%s\0--task\0%d\0' % (job, task) in
              open('/proc/%d/cmdline' % n).read()]
    os.kill(victim[0], signal.SIGKILL)
    code, out, errors = launcher.end()
    assert code == 0 and 'Test accuracy: ' in out, errors
    assert errors.startswith('distributed.py: %s %d was killed by signal 9: started again\n' % (
        job, task))
    assert errors.count('\n') == (2 if job == 'ps' else 1)


@pytest.mark.slow
def test_two_workers_on_letters_are_as_good_as_one_process(start):
    code, out, _ = start('--local 2 --steps 1001 --seed 1').end(600)
    assert code == 0 and float(re.search(r'Test accuracy: ([\d.]+)%', out).group(1)) > 94.5
