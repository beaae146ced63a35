from django.urls import path

from ops.files import exports, imports, uploads

urlpatterns = [
    path("files/", imports.files, name="files"),
    path("files/imports/new/", uploads.new_import, name="new_import"),
    path("files/imports/<uuid:import_id>/", imports.one, name="import"),
    path("files/imports/<uuid:import_id>/errors.csv", imports.errors, name="import_errors"),
    path("files/exports/new/", exports.new, name="new_export"),
    path("files/exports/<uuid:export_id>/", exports.one, name="export"),
    path("files/exports/<uuid:export_id>/<int:number>/", exports.file, name="export_file"),
]
