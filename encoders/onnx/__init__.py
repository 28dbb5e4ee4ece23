"""From an ONNX file to a layer graph: the file, its constants, its operators, its class scores."""
