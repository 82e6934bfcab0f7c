"""SCEP and the pages of Microsoft NDES over HTTP."""
