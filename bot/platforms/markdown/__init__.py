"""Markdown of models: one parser, a growing document, and its layout for a platform.

Text is kept as it was written wherever a platform shows it: the parser says what each line and each mark is.
"""
