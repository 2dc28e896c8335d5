"""What surrounds a cluster's processes and is not the lesson: who is where, there, ready and gone.

distributed.py uses it. On one machine launch() starts all processes; on several, people do.
"""
import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

os.environ.setdefault('GRPC_VERBOSITY', 'NONE')  # who is gone is told of in a sentence of ours

import utils  # noqa: E402 (before TensorFlow: keeps its start-up chatter off the screen)
import tensorflow.compat.v1 as tf  # noqa: E402

CONTAINER = 'training'    # where servers keep what a run consists of
CHIEF = '/job:worker/task:0'
RESTARTS = 5              # of processes that launch() has started, before it gives up
LOOK_EVERY = 0.5          # seconds between two looks at whether somebody is there, ready or done
LAUNCHED = 'CLUSTER_PROCESS_ENDS_WITH_ITS_STANDARD_INPUT'  # in the environment of launch()'s


# --------------------------------------------------------------------------------- who is where

def addresses(text):
    """An argparse type: HOST:PORT[,HOST:PORT...]; returns a list of strings."""
    for address in text.split(','):
        host, _, port = address.rpartition(':')
        if not (host and port.isdigit() and 0 < int(port) < 65536):
            raise argparse.ArgumentTypeError('"%s" is not HOST:PORT' % address)
    return text.split(',')


def free_addresses(count):
    """That many times 127.0.0.1 and a port which nobody uses at the moment."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(('127.0.0.1', 0))
    free = ['127.0.0.1:%d' % probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return free


def answers(address):
    """Whether a TensorFlow server is there: its gRPC greets with HTTP/2's frame of settings."""
    host, _, port = address.rpartition(':')
    try:
        with socket.create_connection((host.strip('[]'), int(port)), timeout=2) as connection:
            return connection.recv(9)[3:4] == b'\x04'
    except OSError:
        return False


class Watch(threading.Thread):
    """Ends this process with a sentence and code 2 where it waits for others in vain.

    TensorFlow itself waits for ever: for a server that does not answer when a session is made, for
    a gradient that does not come, for a value that a server sends to another address. With
    TensorFlow 2.21 operation_timeout_in_ms of tf.ConfigProto ends neither the first nor the last.
    """

    def __init__(self, needed, wait):
        """needed: addresses, emptied when nobody is waited for any more; wait: seconds."""
        super().__init__(daemon=True)
        self.needed, self.wait = needed, wait
        self.moved = time.time()  # when this process last went on
        self.start()

    def run(self):
        heard = {address: time.time() for address in self.needed}
        while self.needed:
            for address in self.needed:
                if answers(address):
                    heard[address] = time.time()
                elif time.time() - heard[address] > self.wait:
                    self.give_up('No TensorFlow server has answered at %s for %g seconds: start '
                                 'the process that belongs there, or give the right address; '
                                 '--wait waits longer.' % (address, self.wait))
            if time.time() - self.moved > 3 * self.wait:
                self.give_up('All others answer, but nothing has moved for %g seconds: give all '
                             'the same --ps and --workers; --wait waits longer.' % (3 * self.wait))
            time.sleep(LOOK_EVERY)

    def give_up(self, sentence):
        utils.warn(sentence)
        os._exit(2)


# ---------------------------------------------------------------------------- being one of them

def serve(cluster, flags):
    """Start this process's tf.train.Server; raises utils.Refused where its port is taken."""
    try:
        return tf.train.Server(cluster, flags.job, flags.task, config=tf.ConfigProto(
            gpu_options=utils.gpu_options(flags.gpu_memory)))
    except tf.errors.UnknownError:
        raise utils.Refused('Port %s is taken: end the process that listens there, or give another '
                            'address.' % cluster.task_address(flags.job, flags.task))


def filtered(*devices):
    """A session's tf.ConfigProto that knows these devices alone, and waits for no others."""
    return tf.ConfigProto(device_filters=devices)


def finished(task):
    """The queue at parameter server `task` into which each worker puts a word when it is done."""
    with tf.device('/job:ps/task:%d' % task), tf.container('finished'):
        return tf.FIFOQueue(-1, tf.bool, shapes=[[]], shared_name='finished')


def hold_weights(server, flags):
    """What a parameter server does: others use it; it ends when all workers have finished.

    TensorFlow's own Server.join() never returns. Where a worker is lost after another has finished,
    it is waited for as long as for others.
    """
    with tf.Graph().as_default():
        size = finished(flags.task).size()
        with tf.Session(server.target, config=filtered('/job:ps/task:%d' % flags.task)) as session:
            last = None
            while True:
                done = session.run(size)
                last = last or (done and time.time())
                if done >= len(flags.workers) or (last and time.time() - last > flags.wait):
                    return 0
                time.sleep(LOOK_EVERY)


@contextlib.contextmanager
def none_lost():
    """Leave the block where a process is lost meanwhile: the next training step will notice, too.

    It is made again in a new session, as reports are not.
    """
    lost = (tf.errors.UnavailableError, tf.errors.AbortedError)
    try:
        yield
    except lost:
        pass
    except utils.Refused as refusal:
        if not isinstance(refusal.__context__, lost):
            raise


@contextlib.contextmanager
def refusing():
    """Turn an error of TensorFlow's that no new session mends into a sentence."""
    try:
        yield
    except tf.errors.OpError as error:
        reason = ' '.join(error.message.split())
        raise utils.Refused('The cluster has failed (%s): give all processes the same --ps, '
                            '--workers and flags of the network.' % reason[:300])


class Joining(tf.train.WorkerSessionCreator):
    """Makes a worker's sessions, the first one and those after the chief was lost.

    Each begins as soon as the chief is ready: TensorFlow's own, with MonitoredTrainingSession,
    looks once and then sleeps for 30 seconds, which cannot be set.
    """

    def __init__(self, scaffold, target, config):
        super().__init__(scaffold, target, config)
        self.scaffold, self.target, self.config = scaffold, target, config

    def create_session(self):
        with tf.Session(self.target, config=self.config) as session:
            while len(session.run(self.scaffold.ready_for_local_init_op)):  # without values
                time.sleep(LOOK_EVERY)
        return super().create_session()


class EachSession(tf.train.SessionRunHook):
    """Calls a function with each session that a monitored session makes, before its first step.

    The second argument of the function is whether there was one before, which some loss has ended.
    """

    def __init__(self, function):
        self.function, self.again = function, False

    def after_create_session(self, session, coord):
        self.function(session, self.again)
        self.again = True


class Tokens:
    """The queue in which SyncReplicasOptimizer hands each worker the number of its next step."""

    def __init__(self, optimizer):
        """Made in the optimizer's graph, after its apply_gradients()."""
        with tf.device(CHIEF):  # where the global step is
            queue = tf.FIFOQueue(-1, tf.int64, shapes=(), shared_name='sync_token_q')
        self.back = tf.placeholder(tf.int64, [])
        self.put, self.take = queue.enqueue(self.back), queue.dequeue()
        self.catch_up = optimizer.local_step_init_op

    def following(self, session, step, token):
        """The number of the step after `step`, for which this worker has taken a token.

        token: what the training step has taken. Where a worker was killed between giving a gradient
        and taking its token, that is left over, and whoever took it would work ahead of the others:
        in the same step again, on weights that are not updated yet. So a token of this very step is
        somebody else's and put back; one of an earlier step is nobody's any more, for without its
        owner there would have been no later step.
        """
        if token > step:
            return int(token)
        while token <= step:
            if token == step:
                session.run(self.put, {self.back: token})
                time.sleep(0.01)
            token = session.run(self.take)
        session.run(self.catch_up)
        return int(token)


def begin_anew(why):
    """Run this process's command line again, in its place; says why on stderr.

    For a chief that has lost a parameter server, and the gradients there. A worker that has given
    one waits for a token of this process, and it is the end of this that makes it give another.
    """
    utils.warn(why + ': the chief begins anew')
    os.execv(sys.executable, [sys.executable] + sys.argv)


# --------------------------------------------------------------------- all of them on one machine

def launch(workers):
    """Run this command line as one parameter server and so many workers; returns the exit code.

    Each process's output is passed on with its name in front. A process that is killed is started
    again, as the manager of a cluster would do; one that fails ends all. Nobody is left behind,
    however this process ends: what it has started ends with it.
    """
    places = free_addresses(1 + workers)
    command = [sys.executable] + sys.argv + [
        '--local', '0', '--ps', places[0], '--workers', ','.join(places[1:])]
    run = {name: Process(name, command + ['--job', name.split()[0], '--task', name.split()[1]])
           for name in ['ps 0'] + ['worker %d' % task for task in range(workers)]}
    restarts, code = RESTARTS, 0
    try:
        while run:
            time.sleep(0.1)
            if Process.reader_gone:
                raise BrokenPipeError
            for name, process in list(run.items()):
                ended = process.poll()
                if ended is None:
                    continue
                process.finish()
                if ended < 0 and restarts:
                    restarts -= 1
                    utils.warn('%s was killed by signal %d: started again' % (name, -ended))
                    run[name] = Process(name, process.args)
                    continue
                del run[name]
                code = code or (ended if ended >= 0 else 2)
                if code > 1:
                    return code
        return code
    finally:
        for process in run.values():
            process.kill()
            process.finish()


class Process(subprocess.Popen):
    """A process whose lines are passed on, with its name in front."""

    reader_gone = False  # whether nobody reads our own output any more

    def __init__(self, name, command):
        super().__init__(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, universal_newlines=True,
                         env=dict(os.environ, **{LAUNCHED: '1'}),
                         start_new_session=True)  # Ctrl-C is for launch() alone
        self.passers = [threading.Thread(target=self.pass_on, args=(name, source, target))
                        for source, target in ((self.stdout, sys.stdout),
                                               (self.stderr, sys.stderr))]
        for thread in self.passers:
            thread.start()

    def pass_on(self, name, source, target):
        for line in source:
            try:
                target.write('%-8s | %s\n' % (name, line.rstrip('\n')))
                target.flush()
            except BrokenPipeError:
                Process.reader_gone = True

    def finish(self):
        """Wait for its end and for its last lines."""
        self.wait()
        for thread in self.passers:
            thread.join()
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()


def end_as_told():
    """Let Ctrl-C end this process at once, and the end of launch() too, however that comes.

    Python would see to Ctrl-C when TensorFlow returns, and a worker that waits for the others does
    not. A process of launch() has a pipe from it as standard input, which closes when it ends.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if LAUNCHED in os.environ:
        def wait():
            os.read(0, 1)  # not sys.stdin, whose lock Python wants when it ends
            os._exit(3)
        threading.Thread(target=wait, daemon=True).start()
