def write_page(path, title, figures, config, sheets, sounds, points):
    pass
