"""The ops of a SavedModel that a stock TensorFlow Serving does not have.

A missing op can surface as late as at the first request, so exports are checked when they are made.
Stock servers 2.16 to 2.20 hold TensorFlow's own ops and those of TF-Text 2.12.1 or newer.
"""

from __future__ import annotations

import re
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

# What TF-Text 2.12.1, which servers up to 2.19 link, registers.
_TEXT_OPS = frozenset(
    {
        "CaseFoldUTF8",
        "ConstrainedSequence",
        "FastBertNormalize",
        "FastWordpieceTokenizeWithOffsets",
        "FindSourceOffsets",
        "MaxSpanningTree",
        "NormalizeUTF8",
        "NormalizeUTF8WithOffsetsMap",
        "PhraseTokenize",
        "RegexSplitWithOffsets",
        "RougeL",
        "SentenceFragments",
        "SentenceFragmentsV2",
        "SentencepieceDetokenizeOp",
        "SentencepieceIdToStringOp",
        "SentencepieceOp",
        "SentencepieceStringToIdOp",
        "SentencepieceTokenizeOp",
        "SentencepieceTokenizeWithOffsetsOp",
        "SentencepieceVocabSizeOp",
        "SplitMergeTokenizeWithOffsets",
        "TFText>BoiseTagsToOffsets",
        "TFText>ByteSplitByOffsets",
        "TFText>ByteSplitWithOffsets",
        "TFText>FastSentencepieceDetokenize",
        "TFText>FastSentencepieceTokenize",
        "TFText>FastWordpieceDetokenize",
        "TFText>NgramsStringJoin",
        "TFText>OffsetsToBoiseTags",
        "TFText>PhraseDetokenize",
        "TFText>WhitespaceTokenizeWithOffsetsV2",
        "TokenizerFromLogits",
        "UnicodeScriptTokenizeWithOffsets",
        "WhitespaceTokenizeWithOffsets",
        "WordpieceTokenizeWithOffsets",
    }
)

# What tf.raw_ops of TensorFlow 2.21.0 holds and the op registry of TensorFlow 2.16.1 does not, by
# comparing the two: another TensorFlow in the lock asks for another comparison.
_NEWER_OPS = frozenset(
    {
        "CheckPinned",
        "DecodeJxl",
        "DecodeWebP",
        "GlobalShuffleDataset",
        "IndexFlatMapDataset",
        "IteratorGetModelProto",
        "WeightedFlatMapDataset",
    }
)
# The rest of the difference is for TPUs, for which there is no stock server.
_TPU_OPS = re.compile(r"^(Xla|TPU)|SparseCore")


def unsupported_ops(saved_model_dir: Path) -> list[str]:
    """Returns the ops of a SavedModel, functions included, that stock TF Serving 2.16 lacks.

    It looks at names only: a new attribute of an old op goes unnoticed.
    """
    model = saved_model_pb2.SavedModel.FromString((saved_model_dir / "saved_model.pb").read_bytes())
    ops: set[str] = set()
    for graph in (meta_graph.graph_def for meta_graph in model.meta_graphs):
        ops.update(node.op for node in graph.node)
        for function in graph.library.function:
            ops.update(node.op for node in function.node_def)
        ops.difference_update(function.signature.name for function in graph.library.function)
    return sorted(op for op in ops if not _is_supported(op))


def _is_supported(op: str) -> bool:
    if op in _NEWER_OPS or _TPU_OPS.search(op):
        return False
    return op in _TEXT_OPS or hasattr(tf.raw_ops, op)
