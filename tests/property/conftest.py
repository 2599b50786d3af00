from hypothesis import settings

settings.register_profile("trtbuild", deadline=None)  # machines are shared: time says nothing
settings.load_profile("trtbuild")
