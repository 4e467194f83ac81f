-- publish: the oldest calls of a gateway, for people who ask who holds the slots. The list ends by itself.
--
-- Request: gateway, how old the list is (ms), for how long it is kept (ms), the list (JSON). Reply: status.
local gateway, age, keep, list = unpack(cmsgpack.unpack(ARGV[1]))

-- include: listing
call('SET', listing_of(gateway), string.format('%.0f ', now - age) .. list, 'PX', keep)
return cmsgpack.pack({ OK })
