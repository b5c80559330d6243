"""The hybrid pipeline S5: low rank, fixed point, pruning and Huffman codes chosen together; widths of activations."""
