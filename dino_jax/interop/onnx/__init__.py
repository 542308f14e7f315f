"""The backbones written as ONNX graphs (what other runtimes run)."""
