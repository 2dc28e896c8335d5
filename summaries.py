"""What TensorBoard shows of a network beside the curves of the log (notes 5; --logdir)."""
import os
import socket
import time

import tensorflow.compat.v1 as tf

from commandline import Refused

IMAGES = 1000      # of the validation set, the same at each report, so that reports compare


class Board:
    """TensorBoard's file in a folder, which is made if need be.

    tf.summary.FileWriter writes in a thread of its own: where the disk is full, TensorFlow 1 loses
    what it was given without a word, and TensorFlow 2 prints a traceback.
    """

    def __init__(self, folder):
        name = 'events.out.tfevents.%d.%s' % (time.time(), socket.gethostname())
        self.path = os.path.join(folder, name)
        os.makedirs(folder, exist_ok=True)
        self.file = tf.io.TFRecordWriter(self.path)
        self.add(file_version='brain.Event:2')

    def add(self, step=0, **content):
        """Write an event, at once. Raises Refused where it cannot be written."""
        event = tf.Event(wall_time=time.time(), step=step, **content)
        try:
            self.file.write(event.SerializeToString())
            self.file.flush()  # a run that is killed is seen up to here
        except tf.errors.OpError as error:
            raise Refused('%s cannot be written (%s): make room, or give another folder with '
                          '--logdir.' % (self.path, error.message.split('; ')[-1]))

    def add_graph(self, graph):
        self.add(graph_def=graph.as_graph_def(add_shapes=True).SerializeToString())

    def add_summary(self, summary, step=0):
        """Write a tf.Summary, serialized or not."""
        if isinstance(summary, bytes):
            summary = tf.Summary.FromString(summary)
        self.add(step, summary=summary)

    def close(self):
        self.file.close()


def sheet(images, rows, columns):
    """The first of images [n, 784] as one picture [1, 28 rows, 28 columns, 1]."""
    images = images[:rows * columns]
    images = tf.pad(images, [[0, rows * columns - tf.shape(images)[0]], [0, 0]])
    images = tf.reshape(images, [rows, columns, 28, 28])
    return tf.reshape(tf.transpose(images, [0, 2, 1, 3]), [1, 28 * rows, 28 * columns, 1])


def describe(x, hits, outputs, gradients):
    """Histograms of weights, outputs and gradients by layer, and pictures.

    x: float32 [batch, 784]; hits: bool [batch], whether each is classified correctly; outputs: of
    each hidden layer, [batch, units]; gradients: (gradient, variable) pairs. Returns the merged
    summary, a string tensor. TensorBoard draws each histogram as a distribution too.
    """
    for layer, output in enumerate(outputs, 1):
        tf.summary.histogram('activations/layer%d' % layer, output)
    for gradient, variable in gradients:
        name = variable.op.name.replace('forward/', '')
        tf.summary.histogram('weights/' + name, variable)
        tf.summary.histogram('gradients/' + name, gradient)
    with tf.name_scope('pictures'):
        pictures = {
            'examples': sheet(x, 4, 8),
            'mistakes': sheet(tf.boolean_mask(x, tf.logical_not(hits)), 4, 8),
            'first_layer': sheet(tf.transpose(tf.trainable_variables()[0]), 6, 6),  # unit by unit
        }
    for name, picture in pictures.items():
        tf.summary.image(name, picture, max_outputs=1)
    return tf.summary.merge_all()


def feed(net, split):
    """What to evaluate the summary on."""
    return {net.x: split.images[:IMAGES], net.y: split.labels[:IMAGES]}


def sound(board, name, wave, rate):
    """Write a series [samples] as audio into a Board; rate: samples a second."""
    with tf.Graph().as_default(), tf.Session() as session:
        wave = (wave / abs(wave).max()).astype('float32')[None, :, None]     # [1, samples, 1]
        board.add_summary(session.run(tf.summary.audio(name, wave, rate)))
