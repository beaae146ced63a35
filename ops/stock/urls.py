from django.urls import path

from ops.stock import views

urlpatterns = [
    path("stock/", views.goods, name="goods"),
    path("stock/new/", views.new, name="new_stock"),
    path("stock/<int:stock_id>/", views.stock, name="stock"),
    path("stock/<int:stock_id>/<slug:slug>/", views.act, name="act_on_stock"),
]
