"""Documents that many people edit at once, for the stock editors of Yjs.

They need ``pip install 'fastws-server[yjs]'``. ``Documents`` is the handler of a route. It speaks the
protocol of ``y-websocket``, and keeps documents in a store: ``MemoryStore``, ``FileStore``, or your own.
"""

from fastws.yjs.documents import Documents
from fastws.yjs.files import FileStore
from fastws.yjs.limits import DocumentLimits
from fastws.yjs.stores import MemoryStore, Store, StoredDocument, StoreError

__all__ = ["DocumentLimits", "Documents", "FileStore", "MemoryStore", "Store", "StoreError", "StoredDocument"]
