"""Pictures without labels, for systems that learn from looking alone."""
from pentimento.data.faces import open_faces as open_pictures
