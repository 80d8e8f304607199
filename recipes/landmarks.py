"""The bundled 68-point landmarks, from data to card.

    python recipes/landmarks.py train --data DATA --out runs/landmarks --weights landmarks
    python recipes/landmarks.py evaluate landmarks --data DATA
    python recipes/landmarks.py conventions runs/world-only --data DATA

DATA is the folder that holds `london_faces`. `--world` names rendered portraits of your own
(folders as `pentimento world portraits --size 256` writes), else they are drawn. Training continues
where it was stopped when the same command is given again; then come scores, a sheet to look at,
card and model. `conventions` measures where the marks of photos differ from those of a model that
was trained on rendered portraits alone (`data/landmarks.py` holds the result).
"""
