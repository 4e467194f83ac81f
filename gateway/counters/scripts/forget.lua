-- forget: give back everything that a gateway holds: it has stopped, or somebody knows that it is dead.
--
-- Request: gateway. Reply: status. A gateway that lives all the same is fenced by it, and registers again.
forget(cmsgpack.unpack(ARGV[1])[1])
return cmsgpack.pack({ OK })
