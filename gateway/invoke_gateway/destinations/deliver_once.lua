-- deliver_once: append an entry to a stream, unless this message was appended before.
--
-- Keys: the stream; the mark of this message. Arguments: seconds that the mark is kept, then the entry's fields and
-- values. Reply: the entry's id, or nil where it was there. The mark comes last: where appending fails, there is none.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return nil
end
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('SET', KEYS[2], id, 'EX', ARGV[1])
return id
