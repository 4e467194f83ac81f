-- recovery: what only a store that has lost something needs.

-- Write the control state of a gateway into a store that has lost it, or has an older one after a restart: `left` is how
-- long no call is admitted. Returns the revision that the store has then.
local function restore_control(revision, document, left)
  local stored = call('HGET', CONTROL, 'revision') or ''
  if not revision then -- a gateway of an earlier version sends none
    return stored
  end
  local number, stored_number = tonumber(revision:match('^%d+')) or 0, tonumber(stored:match('^%d+')) or 0
  if number > stored_number and (left > 0 or stored == '') then
    call('HSET', CONTROL, 'revision', revision, 'document', document)
    return revision
  end
  return stored
end

-- Names the recovery that is under way.
local function recovery_tag()
  return table.concat(call('HMGET', STATE, 'run', 'refill'), ' ')
end
