-- control: replace what control operations have set for the account, unless another gateway changed it meanwhile.
--
-- Request: run, lease ms, the revision that is replaced, the revision that follows, the document, whether it is a copy.
-- A copy is written back by a gateway to a store that has lost it, and replaces only what is older. While the store
-- recovers it takes copies and no changes: so no change builds on an older document.
-- Reply: status (STALE: another gateway was first, or has more), ms for which no change is taken, the revision that the
-- store has now, its document (nothing where it is the one of the request).
local run, lease, known, following, document, is_copy = unpack(cmsgpack.unpack(ARGV[1]))

-- include: recovery
local left = refilling(run, lease)
local stored = call('HGET', CONTROL, 'revision') or ''
if is_copy then
  stored = restore_control(following, document, left)
elseif left == 0 and stored == known then
  call('HSET', CONTROL, 'revision', following, 'document', document)
  stored = following
end
if stored == following then
  return cmsgpack.pack({ OK, left, stored, '' })
end
return cmsgpack.pack({ left > 0 and REFILLING or STALE, left, stored, call('HGET', CONTROL, 'document') or '' })
