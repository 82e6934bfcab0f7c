"""The only way a certificate comes into being.

    request ─▶ authorize ─▶ evaluate ─▶ encode ─▶ lint ─▶ reserve ─▶ sign ─▶ verify ─▶ complete
               policy       policy      der      policy    tx 1      key     der        tx 2

Serial and TBS are recorded before the key works, so a crash leaves something that can be resumed or
revoked, never an unknown signature. No database transaction is open while a key works.
"""
