"""Exact rewrites for low precision: one file each. A transform proposes factors, equalize decides.

``candidates(component)`` yields rows of factors, one for each free channel of the component, all of them above zero.
Dividing by them and multiplying what reads them changes no result in FP32.
"""
