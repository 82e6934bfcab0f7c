"""Microsoft Intune decides: asked before a certificate is issued, told before it is handed out, heard when it is to be
revoked."""
