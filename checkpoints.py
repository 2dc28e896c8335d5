"""Stopping at any moment and going on as if nothing had happened (--checkpoint, --resume).

All that the rest of a run depends on is variables of the graph, so one tf.train.Saver keeps it:
the weights, what the optimizer remembers of them, the moving moments, the step, the best weights so
far, and a string with what Python knows besides. Random numbers need no keeping, for they are drawn
from the seed and the step; neither do minibatches, which are cut out at the step.
"""
import contextlib
import json
import os
import zlib

import utils  # before TensorFlow: keeps its start-up chatter off the screen
import tensorflow.compat.v1 as tf

# Flags that change what is told of a run, not what it computes: they may differ on --resume.
FREE = ('checkpoint', 'resume', 'report_every', 'target_accuracy', 'plot', 'logdir', 'gpu_memory',
        'gradient_norms', 'data')


def check(flags):
    """Refuse a --checkpoint folder that holds another run, before anything is loaded.

    Raises utils.Refused, with what differs, where the checkpoint was made with other flags, cannot
    be read, or is there without --resume.
    """
    path = latest(flags.checkpoint) if flags.checkpoint else None
    if path is None:
        return
    if not flags.resume:
        raise utils.Refused('%s holds a checkpoint: add --resume to go on from it, or give another '
                            'folder.' % flags.checkpoint)
    there, here = read_record(path)['flags'], of_account(flags)
    for name in sorted(set(there) | set(here)):
        if there.get(name) != here.get(name):
            raise utils.Refused('The checkpoint in %s was made with %s and this run has %s: give '
                                'the same flags, or another folder.' % (
                                    flags.checkpoint, spell(name, there), spell(name, here)))


def latest(folder):
    """Path of the newest checkpoint in a folder, or None; raises utils.Refused for a broken one."""
    path = None
    with utils.formats.quiet_stderr():  # TensorFlow says at length what we say in a sentence
        with contextlib.suppress(ValueError):  # a damaged list
            path = tf.train.latest_checkpoint(folder)
    if path is None and os.path.exists(os.path.join(folder, 'checkpoint')):
        raise utils.Refused('%s holds a list of checkpoints, but not the files it names: remove '
                            'it, or give another folder.' % folder)
    return path


def read(path, name):
    """The value of a variable in a checkpoint; raises utils.Refused where it cannot be read."""
    try:
        return tf.train.load_checkpoint(path).get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        raise utils.Refused('%s cannot be read as a checkpoint of this lesson (%s): remove it, or '
                            'give another folder.' % (path, reason(error)))


def read_record(path):
    """What save() knew besides variables; raises utils.Refused where there is no such thing."""
    try:
        record = json.loads(read(path, 'record'))
        if {'flags', 'images', 'data', 'best', 'history', 'seconds'} <= set(record):
            return record
    except (ValueError, TypeError):
        pass
    raise utils.Refused('%s was not made by this lesson: remove it, or give another folder.' % path)


def reason(error):
    """What TensorFlow says of a failure, without the stack that it prints around it."""
    lines = [line for line in str(error).split('\n') if line[:1].strip() and not line.startswith(
        ('Graph execution error', 'Detected at', 'Node:', 'Original stack'))]
    return lines[0] if lines else type(error).__name__


def of_account(flags):
    """The flags that a run's result depends on, as a dictionary that JSON can hold."""
    values = {name: value for name, value in vars(flags).items() if name not in FREE}
    if values.get('schedule') in ('constant', None):
        del values['steps']  # more of the same: a longer run is the shorter one and some
    return values


def spell(name, values):
    """A flag as it would be typed."""
    value, flag = values.get(name), '--' + name.replace('_', '-')
    if value is None or value is False:
        return 'no ' + flag
    return flag if value is True else '%s %s' % (flag, value)


@contextlib.contextmanager
def refusing(what):
    """Turn what TensorFlow says of a checkpoint that cannot be written or read into a sentence."""
    try:
        yield
    except (tf.errors.OpError, OSError, ValueError, KeyError) as error:
        raise utils.Refused('%s (%s): give another folder.' % (what, reason(error)))


class Checkpoint:
    """What --checkpoint keeps. Made inside the graph, after everything that it has to hold."""

    def __init__(self, variables, flags, train):
        """variables: the net's, whose best values are kept; train: the training Split."""
        self.flags = flags
        self.images = zlib.crc32(train.images) if flags.checkpoint else None
        with tf.name_scope('best'):
            best = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]
            self.keep_best = tf.group(*[b.assign(v) for b, v in zip(best, variables)])
            self.restore_best = tf.group(*[v.assign(b) for b, v in zip(best, variables)])
        self.record = tf.Variable('', trainable=False, name='record')
        self.saver = tf.train.Saver(max_to_keep=2, save_relative_paths=True)

    def save(self, session, best, log):
        """Write a checkpoint, whole or not at all: TensorFlow renames it when it is complete."""
        if not self.flags.checkpoint:
            return
        self.record.load(json.dumps({
            'flags': of_account(self.flags), 'images': self.images, 'data': self.flags.data,
            'best': vars(best), 'history': log.history, 'seconds': log.seconds()}), session)
        with refusing('No checkpoint can be written to %s' % self.flags.checkpoint):
            self.saver.save(session, os.path.join(self.flags.checkpoint, 'model'),
                            tf.train.get_global_step(), write_meta_graph=False)

    def restore(self, session, best, log):
        """Go on from the newest checkpoint, if any: variables, best and log as they were."""
        path = latest(self.flags.checkpoint)
        if path is None:
            log.say('No checkpoint in %s yet: from the beginning' % self.flags.checkpoint)
            return
        record = read_record(path)
        if record['images'] != self.images:
            raise utils.Refused('The checkpoint in %s was made on other training images (--data '
                                '%s): give the same data, or another folder.' % (
                                    self.flags.checkpoint, record['data']))
        with refusing('The checkpoint %s does not fit this network' % path):
            self.saver.restore(session, path)
        best.validation, best.step = record['best']['validation'], record['best']['step']
        log.go_on(record['history'], record['seconds'])
        log.say('Going on from step %d' % session.run(tf.train.get_global_step()))


# ----------------------------------------------------------------------------------------- cnn.py

def refuse_other(path, variables, images):
    """Refuse a checkpoint of another network, or one that was validated on other images.

    variables: this network's; images: the checksum that it keeps as 'best/images'. Raises
    utils.Refused with the first three variables that are absent or shaped otherwise. Saver.restore
    alone would not notice those that only the checkpoint has. Adam's own go with their weights.
    """
    read(path, 'global_step')  # refuses what cannot be read at all
    there = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    here = {variable.op.name: variable.shape.as_list() for variable in variables}
    differ = ['%s is %s there and %s here' % (name, there.get(name, 'absent'),
                                              here.get(name, 'absent'))
              for name in sorted(set(there) | set(here))
              if there.get(name) != here.get(name) and 'Adam' not in name]
    if differ:
        raise utils.Refused('The checkpoint %s is of another network (%s): give the flags that it '
                            'was made with, or another folder.' % (path, ', '.join(differ[:3])))
    if read(path, 'best/images') != images:
        raise utils.Refused('The checkpoint %s was validated on other images, so no accuracy here '
                            'compares with its best: give the same --data, or another folder.'
                            % path)
